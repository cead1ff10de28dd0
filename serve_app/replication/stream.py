"""What travels from a primary to the other copy, in order, on one connection; and what comes back."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from serve_app.replication.entry import Known
from serve_app.replication.following import Label

P = TypeVar("P")


class Group(NamedTuple, Generic[P]):
    """One group of writes, as it was committed."""

    label: Label
    payload: P


class Window(NamedTuple, Generic[P]):
    """All records of a range of keys, for a learner: what it has there beside them is deleted."""

    payload: P


class End(NamedTuple):
    """Every window has been sent, and every change to keys below. label: of the last group that is part of that."""

    label: Label


class Beat(NamedTuple):
    """Nothing is to be written; asked for the sake of the lease."""


class Sent(NamedTuple, Generic[P]):
    """A message as it travels. known: by which its primary goes. sender: the identity of its storage. stream: the connection,
    by a number that only its primary gives. sent_s: on the primary's clock, and only compared there."""

    known: Known
    sender: str
    stream: int
    sent_s: float
    body: Group[P] | Window[P] | End | Beat


class Acknowledged(NamedTuple):
    """A message is durable. identity: of the storage that says so. sent_s: when what it acknowledges was sent. label: of the
    last group that it has now, where a group or the end was acknowledged."""

    identity: str
    stream: int
    sent_s: float
    label: Label | None = None
    end: bool = False
