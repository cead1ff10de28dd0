"""Commits: numbered without a gap across any crash, exact, and none where nothing is known to have changed."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from serve_app.changes import DELETE, PUT, Change
from serve_app.errors import StorageDamaged
from serve_app.storage import feed
from serve_app.storage.commit import Commit
from serve_app.storage.engine import Changes, Engine, EngineFailed
from serve_app.storage.facts import IDENTITY, Totals, read_bucket_facts, totals_fact
from serve_app.storage.folder import open_folder
from serve_app.storage.group import Group
from tests.support.commits import Commits
from tests.support.memory_engine import MemoryEngine, new_bucket_engine

SIZES = {"cache_bytes": 1 << 20, "write_buffer_bytes": 1 << 20}
FACT = b"bucket.test"


class SetFact:
    """A write that changes a fact alone."""

    keys, size_bytes, deadline_s, needs_space = (), 0, math.inf, False

    def __init__(self, name: bytes, value: bytes) -> None:
        self.name, self.value = name, value
        self.unknown = False

    def decide(self, group: Group) -> None:
        group.set_fact(self.name, self.value)

    def leave_unknown(self, error: Exception) -> None:
        self.unknown = True


def stored_totals(engine: Engine) -> Totals:
    return read_bucket_facts(engine.get_fact, "here").totals


def sequences(commits: Commits) -> list[int]:
    return [commit.sequence for commit in commits.made if commit is not None]


def test_a_new_bucket_has_made_no_commit() -> None:
    assert stored_totals(new_bucket_engine(0)).sequence == 0


def test_each_group_that_changes_something_is_one_commit() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    commits.run(commits.put(b"a", b"1"), commits.put(b"b", b"1"))
    commits.run(commits.delete(b"a"))
    commits.commit(SetFact(FACT, b"moved"))
    assert sequences(commits) == [1, 2, 3]
    assert stored_totals(engine).sequence == commits.committer.totals.sequence == 3


def test_a_commit_is_what_the_engine_was_given() -> None:
    given: list[tuple[Changes, Changes]] = []

    class Watched(MemoryEngine):
        def write(self, records: Changes, facts: Changes) -> None:
            given.append((tuple(records), tuple(facts)))
            super().write(records, facts)

    engine = Watched()
    commits = Commits(engine)
    commits.commit(commits.put(b"a", b"1"), SetFact(FACT, b"there"), commits.put(b"b", b""))
    (commit,) = commits.made
    assert commit is not None
    assert given == [(commit.records, commit.facts)]
    assert commit.records == ((b"a", engine.get(b"a")), (b"b", engine.get(b"b")))
    totals = commits.committer.totals
    told = (Change(PUT, b"a", 1), Change(PUT, b"b", 2))
    assert commit.facts == ((FACT, b"there"), totals_fact(totals), (feed.name_of(2), msgspec.msgpack.encode(told)))
    assert commit.changes == told
    assert totals.revision == commit.revision == 2
    assert totals.sequence == commit.sequence == 1


def test_each_change_is_told_though_the_key_is_in_it_once() -> None:
    """Of a key that is changed twice in one group there are two changes to tell of, and one record to write."""
    commits = Commits(new_bucket_engine(0))
    commits.run(commits.put(b"a", b"1"), commits.put(b"a", b"2"), commits.delete(b"a"), commits.delete(b"never"))
    (commit,) = commits.made
    assert commit is not None
    assert commit.records == ((b"a", None),)
    assert commit.changes == (Change(PUT, b"a", 1), Change(PUT, b"a", 2), Change(DELETE, b"a", 3))
    assert commit.revision == 3


def test_each_key_is_in_it_once_as_it_was_left_in_the_order_of_the_last_changes() -> None:
    commits = Commits(new_bucket_engine(0))
    commits.run(commits.put(b"old", b"1"))
    commits.run(
        commits.put(b"a", b"1"),
        commits.put(b"b", b"1"),
        commits.put(b"passing", b"1"),
        commits.delete(b"old"),
        commits.put(b"a", b"2"),
        commits.delete(b"passing"),
    )
    commit = commits.made[-1]
    assert commit is not None
    assert [(key, raw is None) for key, raw in commit.records] == [
        (b"b", False),
        (b"old", True),
        (b"a", False),
        (b"passing", True),
    ]


def test_a_commit_of_a_fact_alone_has_the_totals_too() -> None:
    commits = Commits(new_bucket_engine(0))
    commits.run(commits.put(b"k", b"v"))
    commits.commit(SetFact(FACT, b"new"))
    totals = commits.committer.totals
    assert totals[2:] == (1, 2, 0)
    assert commits.made[1:] == [Commit(2, (), ((FACT, b"new"), totals_fact(totals)), (), revision=1)]


def test_a_group_that_changes_nothing_is_no_commit() -> None:
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    commits.run(commits.delete(b"missing"), commits.put(b"late", b"1", deadline_s=0.0))
    assert commits.made == [None]
    assert stored_totals(engine).sequence == 0
    commits.run(commits.put(b"k", b"1"))
    assert sequences(commits) == [1]


def test_a_group_that_met_damage_is_no_commit() -> None:
    class Damaged(MemoryEngine):
        def write(self, records: Changes, facts: Changes) -> None:
            raise StorageDamaged("a block of the log")

    commits = Commits(Damaged())
    write = SetFact(FACT, b"there")
    commits.commit(write)
    assert write.unknown
    assert commits.made == [None]
    assert commits.committer.totals == Totals(0, 0, 0)


def test_a_failed_sync_uses_up_no_number() -> None:
    """The process ends; what starts after it goes by the disk, which has the batch, number and all, or not."""
    engine = new_bucket_engine(0)
    commits = Commits(engine)
    commits.run(commits.put(b"k", b"1"))
    engine.fail_next_write = True
    with pytest.raises(EngineFailed):
        commits.run(commits.put(b"k", b"2"))
    after = engine.crash()
    again = Commits(after, stored_totals(after))
    again.run(again.put(b"k", b"3"))
    assert sequences(again) == [2]


def test_facts_of_the_storage_are_in_no_commit() -> None:
    commits = Commits(new_bucket_engine(0))
    with pytest.raises(AssertionError):
        commits.commit(SetFact(IDENTITY, b"another"))


def test_numbers_go_on_after_a_crash_in_memory() -> None:
    engine = new_bucket_engine(0)
    seen: list[int] = []
    for turn in range(4):
        commits = Commits(engine, stored_totals(engine))
        for number in range(turn):
            commits.run(commits.put(b"%d" % number, b"v"), commits.put(b"other", b"v"))
        seen += sequences(commits)
        engine = engine.crash()
    assert seen == list(range(1, 7))


@pytest.mark.parametrize("facts_alone", [False, True])
def test_numbers_go_on_after_reopening(tmp_path: Path, *, facts_alone: bool) -> None:
    seen: list[int] = []
    for turn in range(4):
        storage = open_folder(tmp_path / "b", 0, **SIZES)
        assert storage.facts.totals.sequence == len(seen)
        commits = Commits(storage.engine, storage.facts.totals)
        for number in range(3):
            write = SetFact(FACT, b"%d" % turn) if facts_alone else commits.put(b"%d" % number, b"v")
            commits.commit(write)
        seen += sequences(commits)
        storage.close()
    assert seen == list(range(1, 13))
