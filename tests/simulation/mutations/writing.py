"""Bugs in what a bucket writes, shows and acknowledges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from serve_app import operations
from serve_app.bucket.operation_write import OperationWrite
from serve_app.bucket.reader import Reader
from serve_app.errors import DiskFull
from serve_app.storage.commit import Commit
from serve_app.storage.committer import Committer
from serve_app.storage.engine import Changes
from serve_app.storage.facts import TOTALS, totals_fact
from serve_app.storage.group import Group, Write
from serve_app.storage.writer import Writer
from serve_app.wire.messages import Envelope
from tests.simulation.disk import SimulatedDisk
from tests.simulation.mutations import DISKS, HISTORY, REVISIONS, Mutation

_ABSENT: Any = object()


@contextmanager
def reads_show_unsynced_writes() -> Iterator[None]:
    """A read finds what the writer has decided, before it is durable."""
    decide, in_memory = Committer.decide, Reader.in_memory

    def deciding(self: Committer, writes: Any) -> Group:
        group = decide(self, writes)
        self.shown = group._changed  # type: ignore[attr-defined]
        return group

    def reading(self: Reader, envelope: Envelope) -> Any:
        answer = in_memory(self, envelope)
        bucket: Any = self._bucket
        raw = getattr(bucket._committer, "shown", {}).get(envelope.body.key, _ABSENT)
        if raw is _ABSENT or not isinstance(answer, (operations.Value, operations.Missing)):
            return answer
        return self._answer(envelope.body, raw)

    with patch.object(Committer, "decide", deciding), patch.object(Reader, "in_memory", reading):
        yield


@contextmanager
def acknowledged_before_the_sync() -> Iterator[None]:
    """Writes are answered and shown when they are decided; the sync comes some time later, unless a crash comes first."""
    with reads_show_unsynced_writes(), _answered_when_decided():
        yield


@contextmanager
def _answered_when_decided() -> Iterator[None]:
    decide_next = Writer._decide_next

    def deciding(self: Writer) -> Group:
        bucket: Any = self._group_done.__self__  # type: ignore[attr-defined]
        standing = bucket.state.standing
        group = decide_next(self)
        decided, group.writes = group.writes, []
        answered: list[Write] = []
        for write in decided:
            early = isinstance(write, OperationWrite) and not write.held
            (answered if early else group.writes).append(write)
        bucket._on_group_done(answered, None, standing, whole=True)
        return group

    with patch.object(Writer, "_decide_next", deciding):
        yield


@contextmanager
def expired_writes_are_carried_out() -> Iterator[None]:
    """An operation whose deadline has passed is refused, and done all the same."""
    decide = Committer._decide

    def deciding(self: Committer, write: Write, group: Group, now_s: float) -> None:
        if write.deadline_s <= now_s:
            write.decide(group)
        decide(self, write, group, now_s)

    with patch.object(Committer, "_decide", deciding):
        yield


@contextmanager
def a_full_disk_refuses_too_late() -> Iterator[None]:
    """A put is answered "disk full" after it was carried out."""
    decide = Committer._decide

    def deciding(self: Committer, write: Write, group: Group, now_s: float) -> None:
        full, self.disk_full = self.disk_full, False
        decide(self, write, group, now_s)
        self.disk_full = full
        if full and write.needs_space:
            write.refuse(DiskFull("full"))

    with patch.object(Committer, "_decide", deciding):
        yield


@contextmanager
def a_group_does_not_see_itself() -> Iterator[None]:
    """An operation is decided against the state before its group."""
    with patch.object(Group, "get", lambda self, key: self._engine.get(key)):
        yield


@contextmanager
def revisions_start_again() -> Iterator[None]:
    """The last revision is not kept: after a restart they start from the first."""
    write = Group.write

    def forgetting(self: Group) -> Commit | None:
        set_fact = self.set_fact
        self.set_fact = lambda name, value: set_fact(  # type: ignore[method-assign]
            name, totals_fact(self.totals._replace(revision=min(1, self.revision)))[1] if name == TOTALS else value
        )
        return write(self)

    with patch.object(Group, "write", forgetting):
        yield


@contextmanager
def a_revision_is_taken_back_by_a_delete() -> Iterator[None]:
    """A delete that leaves the bucket empty starts its revisions anew."""
    delete = Group.delete

    def deleting(self: Group, key: bytes) -> None:
        delete(self, key)
        if self.keys == 0:
            self.revision = 0

    with patch.object(Group, "delete", deleting):
        yield


@contextmanager
def counts_are_in_a_batch_of_their_own() -> Iterator[None]:
    """Records and counts are not written together: a crash in between leaves wrong counts."""
    write = SimulatedDisk.write

    def splitting(self: SimulatedDisk, records: Changes, facts: Changes) -> None:
        totals = [fact for fact in facts if fact[0] == TOTALS]
        rest = [fact for fact in facts if fact[0] != TOTALS]
        if records or rest:
            write(self, records, rest)
        write(self, [], totals)

    with patch.object(SimulatedDisk, "write", splitting):
        yield


MUTATIONS = [
    Mutation("reads show unsynced writes", 100, HISTORY, reads_show_unsynced_writes),
    Mutation("acknowledged before the sync", 15, HISTORY, acknowledged_before_the_sync),
    Mutation("expired writes are carried out", 350, HISTORY, expired_writes_are_carried_out),
    Mutation("a full disk refuses too late", 50, HISTORY, a_full_disk_refuses_too_late),
    Mutation("a group does not see itself", 50, HISTORY | REVISIONS, a_group_does_not_see_itself),
    Mutation("revisions start again", 10, REVISIONS, revisions_start_again),
    Mutation("a revision is taken back by a delete", 25, REVISIONS, a_revision_is_taken_back_by_a_delete),
    Mutation("counts are in a batch of their own", 150, DISKS, counts_are_in_a_batch_of_their_own),
]
