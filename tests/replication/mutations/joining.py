"""Bugs in how a copy is brought up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from serve_app.replication.primary import Joining, Primary, Proposal
from serve_app.replication.stream import Acknowledged, Window
from tests.replication.parts import Copy
from tests.replication.world import World


@contextmanager
def windows_delete_nothing() -> Iterator[None]:
    """A learner keeps what the primary does not have."""
    send = World._send

    def sending(self: World, copy: Copy, body: Any) -> None:
        if isinstance(body, Window):
            body = Window({key: value for key, value in body.payload.items() if value})
        send(self, copy, body)

    with patch.object(World, "_send", sending):
        yield


@contextmanager
def a_learner_is_not_sent_changes() -> Iterator[None]:
    """Those of keys that it has been sent already."""
    send_group = World._send_group

    def sending(self: World, copy: Copy, learners: int = 0) -> None:
        if copy.primary is not None and copy.primary.joining is not Joining.WALKING:
            send_group(self, copy, learners)

    with patch.object(World, "_send_group", sending):
        yield


@contextmanager
def a_join_needs_no_acknowledgements() -> Iterator[None]:
    """Until it is decided."""
    with patch.object(Primary, "needs_acknowledgement", lambda self: self.entry.in_sync):
        yield


@contextmanager
def a_broken_connection_ends_what_a_join_needs() -> Iterator[None]:
    """Though it may be decided yet."""

    def needs(self: Primary) -> bool:
        return self.entry.in_sync or (self.joining >= Joining.ENDING and self.stream != 0)

    with patch.object(Primary, "needs_acknowledgement", needs):
        yield


@contextmanager
def any_identity_acknowledges() -> Iterator[None]:
    """What another storage has counts for the one that is to join."""

    def follows(self: Primary, identity: str) -> bool:
        return self.entry.in_sync or self.joining is Joining.PROPOSED

    acknowledged = Primary.acknowledged

    def hearing(self: Primary, answer: Acknowledged) -> None:
        acknowledged(self, answer._replace(identity=self.joins or self.entry.standby))

    with patch.object(Primary, "_follows", follows), patch.object(Primary, "acknowledged", hearing):
        yield


@contextmanager
def back_in_sync_without_a_join() -> Iterator[None]:
    """A standby that was dropped is in sync again when it is there again."""
    may, propose = Primary.may_propose, Primary.proposing

    def may_propose(self: Primary, proposal: Proposal) -> bool:
        dropped = not self.entry.in_sync and not self.recovering and self.joining is Joining.NO
        return may(self, proposal) or (proposal is Proposal.JOIN and dropped)

    def proposing(self: Primary, proposal: Proposal) -> Any:
        if proposal is Proposal.JOIN and self.joining is Joining.NO:
            return self.entry.join(self.known.epoch + 1, self.entry.standby)
        return propose(self, proposal)

    with patch.object(Primary, "may_propose", may_propose), patch.object(Primary, "proposing", proposing):
        yield


@contextmanager
def a_learner_forgets_that_it_learns() -> Iterator[None]:
    """After a restart its label counts, which says nothing of what it has taken since."""
    start = World._start

    def starting(self: World, copy: Copy, *, restarted: bool) -> None:
        copy.storage.following = copy.storage.following._replace(learning=False)
        start(self, copy, restarted=restarted)

    with patch.object(World, "_start", starting):
        yield


BUGS = (
    windows_delete_nothing,
    a_learner_is_not_sent_changes,
    a_join_needs_no_acknowledgements,
    a_broken_connection_ends_what_a_join_needs,
    any_identity_acknowledges,
    back_in_sync_without_a_join,
    a_learner_forgets_that_it_learns,
)
