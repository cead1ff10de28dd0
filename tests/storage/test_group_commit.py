"""Group commit: what one group decides, and the thread that gathers groups."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from serve_app.errors import Unavailable
from serve_app.storage.engine import Changes, EngineFailed
from serve_app.storage.facts import Totals
from serve_app.storage.group_commit import Operation, WriterThread
from serve_app.wire import messages
from tests.support.commits import Commits
from tests.support.memory_engine import MemoryEngine, new_bucket_engine


def test_operations_see_the_earlier_ones_of_their_group() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    writes = engine.writes
    created, updated, deleted, missing, again = commits.run(
        commits.put(b"k", b"1"),
        commits.put(b"k", b"2"),
        commits.delete(b"k"),
        commits.delete(b"k"),
        commits.put(b"k", b"3"),
    )
    assert engine.writes == writes + 1, "one write, one sync, for the whole group"
    assert (created.created, updated.created, again.created) == (True, False, True)
    assert deleted.value == b"2"
    assert isinstance(missing, messages.Missing)
    assert commits.committer.totals.keys == 1


def test_a_group_that_changes_nothing_writes_nothing() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    writes = engine.writes
    assert isinstance(commits.run(commits.delete(b"k"))[0], messages.Missing)
    assert engine.writes == writes


def test_an_expired_operation_changes_nothing() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    late, due = commits.run(commits.put(b"late", b"1", deadline_s=100.0), commits.put(b"due", b"1", deadline_s=100.1))
    assert (late.reason, type(due)) == ("expired", messages.Written)
    assert [key for key, _ in engine.scan()] == [b"due"]


def test_a_full_disk_refuses_puts_and_takes_deletes() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine, reserve_bytes=1000)
    commits.run(commits.put(b"k", b"1"))
    engine.free = 999
    refused, deleted = commits.run(commits.put(b"new", b"1"), commits.delete(b"k"))
    assert refused.reason == "disk-full"
    assert deleted.value == b"1"
    assert commits.committer.lacks_space()
    engine.free = 1000
    assert isinstance(commits.run(commits.put(b"new", b"1"))[0], messages.Written)
    assert not commits.committer.lacks_space()


def test_a_damaged_record_refuses_its_own_operations_alone() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    commits.run(commits.put(b"bad", b"1"), commits.put(b"good", b"1"))
    engine.damaged.add(b"bad")
    put, delete, good = commits.run(commits.put(b"bad", b"2"), commits.delete(b"bad"), commits.put(b"good", b"2"))
    assert (put.reason, delete.reason) == ("fault", "fault")
    assert "bad" in put.detail
    assert isinstance(good, messages.Written)
    assert len(commits.bucket.errors) == 2
    assert commits.committer.totals.keys == 2


def test_a_failed_write_fails_the_group_and_answers_nobody() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    engine.fail_next_write = True
    operation = commits.put(b"k", b"1")
    before = commits.committer.totals
    with pytest.raises(EngineFailed):
        commits.committer.commit([operation])
    assert commits.committer.totals == before


def test_a_group_stops_where_its_answers_grow_too_large() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine, max_answer_bytes=100_000)
    commits.run(*(commits.put(b"k%d" % n, b"x" * 70_000) for n in range(4)))
    deletes = [commits.delete(b"k%d" % n) for n in range(4)]
    assert commits.committer.commit(deletes) == 2
    assert commits.committer.commit(deletes[2:]) == 2
    assert commits.committer.totals.keys == 0


# -- the thread ------------------------------------------------------------------------------------------------------


class SlowEngine(MemoryEngine):
    """Its write waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)

    def write(self, records: Changes, facts: Changes) -> None:
        self.entered.release()
        assert self.let_go.acquire(timeout=10)
        super().write(records, facts)


class Writer:
    """A writer thread on a slow engine, recording its groups."""

    def __init__(self, **limits: int) -> None:
        self.engine = SlowEngine()
        self.commits = Commits(self.engine, Totals(0, 0, 0))
        self.groups: list[Sequence[Operation]] = []
        self.failures: list[EngineFailed] = []
        self.finished = threading.Semaphore(0)
        bounds = {"max_queued": 100, "max_queued_bytes": 1 << 20, "max_group": 50, "max_group_bytes": 1 << 20, **limits}
        self.thread = WriterThread(self.commits.committer, done=self._done, failed=self._failed, **bounds)
        self.thread.start()

    def _done(self, group: list[Operation]) -> None:
        self.groups.append(group)
        self.finished.release()

    def _failed(self, error: EngineFailed) -> None:
        self.failures.append(error)
        self.finished.release()

    def submit(self, *operations: Operation) -> None:
        for operation in operations:
            self.thread.check_room(operation)
        self.thread.submit(list(operations))

    def wait_for_groups(self, count: int) -> None:
        for _ in range(count):
            assert self.finished.acquire(timeout=10)


def test_all_that_queues_up_during_a_sync_is_the_next_group() -> None:
    writer = Writer()
    put = writer.commits.put
    writer.submit(put(b"alone", b"1"))
    assert writer.engine.entered.acquire(timeout=10)
    writer.submit(put(b"a", b"1"))
    writer.submit(put(b"b", b"1"), put(b"c", b"1"))
    writer.engine.let_go.release(2)
    writer.wait_for_groups(2)
    assert [len(group) for group in writer.groups] == [1, 3]
    writer.thread.stop()


def test_groups_are_bounded_in_number_and_bytes() -> None:
    writer = Writer(max_group=3, max_group_bytes=10_000)
    put = writer.commits.put
    writer.submit(put(b"alone", b"1"))
    assert writer.engine.entered.acquire(timeout=10)
    writer.submit(*(put(b"%d" % n, b"1") for n in range(4)), *(put(b"big%d" % n, b"x" * 6000) for n in range(2)))
    writer.engine.let_go.release(4)
    writer.wait_for_groups(4)
    assert [len(group) for group in writer.groups] == [1, 3, 2, 1]
    writer.thread.stop()


def test_a_value_larger_than_a_group_goes_alone() -> None:
    writer = Writer(max_group_bytes=1000)
    writer.engine.let_go.release(1)
    writer.submit(writer.commits.put(b"big", b"x" * 5000))
    writer.wait_for_groups(1)
    assert [len(group) for group in writer.groups] == [1]
    writer.thread.stop()


def test_a_full_queue_refuses_at_once_and_takes_again_later() -> None:
    writer = Writer(max_queued=2)
    first, second, third = (writer.commits.put(b"%d" % n, b"1") for n in range(3))
    writer.submit(first, second)
    with pytest.raises(Unavailable, match="full"):
        writer.thread.check_room(third)
    writer.engine.let_go.release(3)
    writer.wait_for_groups(1)
    for group in writer.groups:
        writer.thread.release(list(group))
    writer.thread.check_room(third)
    writer.thread.submit([third])
    writer.thread.stop()


def test_a_queue_full_of_bytes_refuses_too() -> None:
    writer = Writer(max_queued_bytes=5000)
    writer.submit(writer.commits.put(b"big", b"x" * 9000))  # one is always taken
    with pytest.raises(Unavailable):
        writer.thread.check_room(writer.commits.put(b"small", b"1"))
    writer.engine.let_go.release(1)
    writer.thread.stop()


def test_stop_commits_what_is_queued() -> None:
    writer = Writer()
    writer.submit(*(writer.commits.put(b"%d" % n, b"1") for n in range(3)))
    writer.engine.let_go.release(1)
    writer.thread.stop()
    assert len(list(writer.engine.scan())) == 3


def test_a_failed_sync_ends_the_writer() -> None:
    writer = Writer()
    writer.engine.let_go.release(10)
    writer.engine.fail_next_write = True

    def refuse(records: Changes, facts: Changes) -> None:
        raise EngineFailed("no")

    writer.engine.write = refuse  # type: ignore[method-assign]
    writer.submit(writer.commits.put(b"k", b"1"))
    writer.wait_for_groups(1)
    assert len(writer.failures) == 1
    assert writer.groups == []
