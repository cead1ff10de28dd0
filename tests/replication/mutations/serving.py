"""Bugs in when a write or a read is answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from serve_app.replication.entry import Known
from serve_app.replication.primary import Primary, Proposal
from serve_app.replication.standby import SILENCE_S, Standby, Verdict
from serve_app.replication.stream import Sent
from tests.replication.parts import Copy
from tests.replication.world import World


@contextmanager
def answered_before_the_drop_is_decided() -> Iterator[None]:
    """A waiting group is answered once it has been proposed to go on without the standby."""
    propose = Primary.proposing

    def proposing(self: Primary, proposal: Proposal) -> Any:
        if proposal is Proposal.DROP and self.flight is not None:
            self.flight.acknowledged = True
        return propose(self, proposal)

    with patch.object(Primary, "proposing", proposing):
        yield


@contextmanager
def any_newer_topology_answers() -> Iterator[None]:
    """A waiting group is answered with the next topology, whether that leaves the standby out or not."""
    install = Primary.install

    def installing(self: Primary, known: Known) -> bool:
        stays = install(self, known)
        if self.flight is not None:
            self.flight.acknowledged = True
        return stays

    with patch.object(Primary, "install", installing):
        yield


@contextmanager
def reads_do_not_wait() -> Iterator[None]:
    """A read tells of the group in flight."""
    with patch.object(Primary, "read_waits", lambda self, key: False):
        yield


@contextmanager
def an_old_connection_is_still_listened_to() -> Iterator[None]:
    """What an earlier connection carries is taken after a new one has begun."""
    judge = Standby.judge

    def judging(self: Standby, sent: Sent[Any]) -> Verdict:
        return judge(self, sent._replace(stream=self.stream))

    with patch.object(Standby, "judge", judging):
        yield


@contextmanager
def the_lease_is_looked_at_first() -> Iterator[None]:
    """And the value after it."""
    look, read = World._look, World._read
    may, add = Primary.may_read, World._add_steps_of_primary
    _reading = False

    def looking(self: World, copy: Copy, key: bytes) -> None:
        if copy.primary is not None and copy.primary.may_read(self.now_s(copy)):
            look(self, copy, key)

    def may_read(self: Primary, now_s: float) -> bool:
        return not self.recovering and not self.switching if _reading else may(self, now_s)

    def adding(self: World, copy: Copy, primary: Primary, *rest: Any, **named: Any) -> None:
        nonlocal _reading
        _reading = copy.reading is not None
        add(self, copy, primary, *rest, **named)
        _reading = False

    def reading(self: World, copy: Copy) -> None:
        if copy.reading is not None:
            copy.reading.value = copy.storage.data.get(copy.reading.key, 0)
        read(self, copy)

    with ExitStack() as all_of_it:
        all_of_it.enter_context(patch.object(World, "_look", looking))
        all_of_it.enter_context(patch.object(World, "_read", reading))
        all_of_it.enter_context(patch.object(World, "_add_steps_of_primary", adding))
        all_of_it.enter_context(patch.object(Primary, "may_read", may_read))
        yield


@contextmanager
def a_lease_is_needed_once_a_join_is_decided() -> Iterator[None]:
    """And not from when it is proposed."""
    with patch.object(Primary, "needs_lease", lambda self: self.entry.in_sync):
        yield


@contextmanager
def reads_are_answered_while_it_switches() -> Iterator[None]:
    """The other one may serve already."""
    may = Primary.may_read

    def may_read(self: Primary, now_s: float) -> bool:
        switching, self.switching = self.switching, False
        able = may(self, now_s)
        self.switching = switching
        return able

    with patch.object(Primary, "may_read", may_read):
        yield


@contextmanager
def a_switch_leaves_a_group_in_flight() -> Iterator[None]:
    """It is proposed while a group may be on one copy alone."""
    may = Primary.may_propose

    def may_propose(self: Primary, proposal: Proposal) -> bool:
        flight, self.flight = self.flight, self.flight if proposal is not Proposal.SWITCH else None
        able = may(self, proposal)
        self.flight = flight
        return able

    with patch.object(Primary, "may_propose", may_propose):
        yield


@contextmanager
def a_switch_is_given_up() -> Iterator[None]:
    """The primary serves again when it hears nothing."""
    beat = World._send

    def sending(self: World, copy: Copy, body: Any) -> None:
        if copy.primary is not None:
            copy.primary.switching = False
        beat(self, copy, body)

    with patch.object(World, "_send", sending):
        yield


@contextmanager
def a_group_is_answered_before_its_own_sync() -> Iterator[None]:
    """The other copy has it."""
    begin = Primary.begin

    def may_answer(self: Primary) -> bool:
        flight = self.flight
        done = flight is not None and not self.recovering
        return done and (flight.acknowledged or (flight.synced and not self.needs_acknowledgement()))  # type: ignore[union-attr]

    with patch.object(Primary, "may_answer", may_answer), patch.object(Primary, "begin", begin):
        yield


@contextmanager
def acknowledged_before_it_is_durable() -> Iterator[None]:
    """A crash of the standby takes back what it acknowledged last."""
    deliver, crash = World._deliver, World._crash

    def delivering(self: World, channel: Any) -> None:
        storage = channel.to.storage
        before = dict(storage.data), storage.following
        deliver(self, channel)
        if storage.following != before[1] and not before[1].learning:
            channel.to.__dict__["unsynced"] = before

    def crashing(self: World, copy: Copy) -> None:
        unsynced = copy.__dict__.pop("unsynced", None)
        if unsynced is not None and copy.standby is not None:
            copy.storage.data, copy.storage.following = dict(unsynced[0]), unsynced[1]
        crash(self, copy)

    with patch.object(World, "_deliver", delivering), patch.object(World, "_crash", crashing):
        yield


@contextmanager
def a_lease_lasts_as_long_as_the_silence() -> Iterator[None]:
    """Nothing is left for clocks that go at different rates."""
    with patch("serve_app.replication.primary.LEASE_S", SILENCE_S):
        yield


@contextmanager
def a_lease_counts_from_when_it_is_heard() -> Iterator[None]:
    """And not from when what it answers was sent."""
    hear = World._hear

    def hearing(self: World, channel: Any) -> None:
        channel.answers[0] = channel.answers[0]._replace(sent_s=self.now_s(channel.of))
        hear(self, channel)

    with patch.object(World, "_hear", hearing):
        yield


BUGS = (
    answered_before_the_drop_is_decided,
    any_newer_topology_answers,
    reads_do_not_wait,
    an_old_connection_is_still_listened_to,
    the_lease_is_looked_at_first,
    a_lease_is_needed_once_a_join_is_decided,
    reads_are_answered_while_it_switches,
    a_switch_leaves_a_group_in_flight,
    a_switch_is_given_up,
    a_group_is_answered_before_its_own_sync,
    acknowledged_before_it_is_durable,
    a_lease_lasts_as_long_as_the_silence,
    a_lease_counts_from_when_it_is_heard,
)
