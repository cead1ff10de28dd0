"""The committer: what one group decides, and what of it becomes durable."""

from __future__ import annotations

import pytest

from serve_app import operations, records
from serve_app.storage.engine import EngineFailed
from serve_app.storage.facts import Totals
from serve_app.wire.messages import Refused
from tests.support.commits import Commits
from tests.support.memory_engine import new_bucket_engine


def test_writes_see_the_earlier_ones_of_their_group() -> None:
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
    assert isinstance(missing, operations.Missing)
    assert commits.committer.totals.keys == 1


def test_a_group_that_changes_nothing_writes_nothing() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    writes = engine.writes
    assert isinstance(commits.run(commits.delete(b"k"))[0], operations.Missing)
    assert engine.writes == writes


def test_an_expired_write_changes_nothing() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    late, due = commits.run(commits.put(b"late", b"1", deadline_s=100.0), commits.put(b"due", b"1", deadline_s=100.1))
    assert (late.reason, type(due)) == ("expired", operations.Written)
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
    assert isinstance(commits.run(commits.put(b"new", b"1"))[0], operations.Written)
    assert not commits.committer.lacks_space()


def test_a_damaged_record_refuses_its_own_writes_alone() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    commits.run(commits.put(b"bad", b"1"), commits.put(b"good", b"1"))
    engine.damaged.add(b"bad")
    put, delete, good = commits.run(commits.put(b"bad", b"2"), commits.delete(b"bad"), commits.put(b"good", b"2"))
    assert (put.reason, delete.reason) == ("fault", "fault")
    assert "bad" in put.detail
    assert isinstance(good, operations.Written)
    assert len(commits.errors) == 2
    assert commits.committer.totals.keys == 2


def test_a_failed_write_fails_the_group_and_answers_nobody() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    engine.fail_next_write = True
    put = commits.put(b"k", b"1")
    before = commits.committer.totals
    with pytest.raises(EngineFailed):
        commits.commit(put)
    assert commits.committer.totals == before


def test_a_group_stops_where_its_answers_grow_too_large() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine, max_answer_bytes=100_000)
    commits.run(*(commits.put(b"k%d" % n, b"x" * 70_000) for n in range(4)))
    deletes = [commits.delete(b"k%d" % n) for n in range(4)]
    assert commits.commit(*deletes) == 2
    assert commits.commit(*deletes[2:]) == 2
    assert commits.committer.totals.keys == 0


def test_a_record_keeps_when_it_was_made_until_it_is_deleted() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    times: list[tuple[int, int]] = []
    for now_ms, write in ((10, commits.put), (20, commits.put), (30, None), (40, commits.put)):
        commits.state.now_ms = lambda now_ms=now_ms: now_ms  # type: ignore[misc]
        commits.run(commits.delete(b"k") if write is None else write(b"k", b"v"))
        raw = engine.get(b"k")
        if raw is not None:
            record = records.decode(raw)
            times.append((record.created_ms, record.modified_ms))
    assert times == [(10, 10), (10, 20), (40, 40)]


def test_a_record_that_can_not_be_read_is_not_deleted() -> None:
    """It is refused, so it has changed nothing: whoever mends the disk finds the record."""
    engine = new_bucket_engine(0)
    engine.write([(b"k", b"no record")], [])
    commits = Commits(engine, Totals(1, 10, 1))
    (refused,) = commits.run(commits.delete(b"k"))
    assert isinstance(refused, Refused)
    assert refused.reason == "fault"
    assert engine.get(b"k") == b"no record"
    assert commits.made == [None]
