"""The writer's thread: which writes it gathers into a group, and when it refuses, stops and fails."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from serve_app.errors import Unavailable
from serve_app.storage.commit import Commit
from serve_app.storage.engine import Changes, EngineFailed
from serve_app.storage.facts import Totals
from serve_app.storage.group import Write
from serve_app.storage.writer import WriterThread
from tests.support.commits import Commits
from tests.support.memory_engine import MemoryEngine


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


class SlowWriter:
    """A writer thread on a slow engine, recording its groups."""

    def __init__(self, **limits: int) -> None:
        self.engine = SlowEngine()
        self.commits = Commits(self.engine, Totals(0, 0, 0))
        self.groups: list[Sequence[Write]] = []
        self.made: list[Commit | None] = []
        self.failures: list[EngineFailed] = []
        self.finished = threading.Semaphore(0)
        bounds = {"max_queued": 100, "max_queued_bytes": 1 << 20, "max_group": 50, "max_group_bytes": 1 << 20, **limits}
        self.thread = WriterThread(self.commits.committer, group_done=self._done, failed=self._failed, **bounds)
        self.thread.start()

    def _done(self, writes: list[Write], commit: Commit | None) -> None:
        self.groups.append(writes)
        self.made.append(commit)
        self.finished.release()

    def _failed(self, error: EngineFailed) -> None:
        self.failures.append(error)
        self.finished.release()

    def submit(self, *writes: Write) -> None:
        for write in writes:
            self.thread.reserve(write)
        self.thread.submit(list(writes))

    def wait_for_groups(self, count: int) -> None:
        for _ in range(count):
            assert self.finished.acquire(timeout=10)


def test_all_that_queues_up_during_a_sync_is_the_next_group() -> None:
    writer = SlowWriter()
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
    writer = SlowWriter(max_group=3, max_group_bytes=10_000)
    put = writer.commits.put
    writer.submit(put(b"alone", b"1"))
    assert writer.engine.entered.acquire(timeout=10)
    writer.submit(*(put(b"%d" % n, b"1") for n in range(4)), *(put(b"big%d" % n, b"x" * 6000) for n in range(2)))
    writer.engine.let_go.release(4)
    writer.wait_for_groups(4)
    assert [len(group) for group in writer.groups] == [1, 3, 2, 1]
    writer.thread.stop()


def test_a_value_larger_than_a_group_goes_alone() -> None:
    writer = SlowWriter(max_group_bytes=1000)
    writer.engine.let_go.release(1)
    writer.submit(writer.commits.put(b"big", b"x" * 5000))
    writer.wait_for_groups(1)
    assert [len(group) for group in writer.groups] == [1]
    writer.thread.stop()


def test_a_full_queue_refuses_at_once_and_takes_again_later() -> None:
    writer = SlowWriter(max_queued=2)
    first, second, third = (writer.commits.put(b"%d" % n, b"1") for n in range(3))
    writer.submit(first, second)
    with pytest.raises(Unavailable, match="full"):
        writer.thread.reserve(third)
    writer.engine.let_go.release(3)
    writer.wait_for_groups(1)
    for group in writer.groups:
        writer.thread.release(list(group))
    writer.thread.reserve(third)
    writer.thread.submit([third])
    writer.thread.stop()


def test_a_queue_full_of_bytes_refuses_too() -> None:
    writer = SlowWriter(max_queued_bytes=5000)
    writer.submit(writer.commits.put(b"big", b"x" * 9000))  # one is always taken
    with pytest.raises(Unavailable):
        writer.thread.reserve(writer.commits.put(b"small", b"1"))
    writer.engine.let_go.release(1)
    writer.thread.stop()


def test_stop_commits_what_is_queued() -> None:
    writer = SlowWriter()
    writer.submit(*(writer.commits.put(b"%d" % n, b"1") for n in range(3)))
    writer.engine.let_go.release(1)
    writer.thread.stop()
    assert len(list(writer.engine.scan())) == 3


def test_a_failed_sync_ends_the_writer() -> None:
    writer = SlowWriter()
    writer.engine.let_go.release(10)
    writer.engine.fail_next_write = True

    def refuse(records: Changes, facts: Changes) -> None:
        raise EngineFailed("no")

    writer.engine.write = refuse  # type: ignore[method-assign]
    writer.submit(writer.commits.put(b"k", b"1"))
    writer.wait_for_groups(1)
    assert len(writer.failures) == 1
    assert writer.groups == []
