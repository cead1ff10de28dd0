"""How far a copy has come, durable with its records: what continues what is told by labels."""

from __future__ import annotations

from typing import NamedTuple


class Label(NamedTuple):
    """Names a group of a bucket's writes. Equal labels mean equal copies.

    epoch: b of the entry under which its primary began it. number: one more than that of the group before. Numbers alone say
    nothing: two primaries may each have given the same one (Kafka's KIP-101).
    """

    epoch: int
    number: int


NOTHING = Label(0, 0)


class Following(NamedTuple):
    """label: of the last group that is here. learning: it is being brought up anew, so its label says nothing yet.
    marked: the epoch that it has asked to be promoted with, where that is not decided yet; else 0."""

    label: Label = NOTHING
    learning: bool = False
    marked: int = 0
