"""The feed on the disk: each change once and in order, at least as many as are to be kept, and not many more."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.changes import DELETE, EXPIRE, PUT, TAKEN, Change
from serve_app.errors import StorageDamaged
from serve_app.storage import feed
from serve_app.storage.engine import Engine
from serve_app.storage.extent import EXTENT, Extent, extent_fact, read_extent
from serve_app.storage.feed import FeedLog, name_of, read_changes
from tests.support.memory_engine import MemoryEngine

#: How many changes are to be kept, in steps of 1, 1, 1, 1, 1, 2 and 20.
KEPT = [1, 2, 49, 50, 99, 101, 1000]


def extent_of(engine: Engine) -> Extent:
    return read_extent(engine.get_fact(EXTENT), "the test")


def opened(engine: Engine, keep: int) -> FeedLog:
    return FeedLog(engine, extent_of(engine), keep)


def change(revision: int) -> Change:
    return Change((PUT, DELETE, EXPIRE)[revision % 3], b"k%d" % revision, revision)


def append(engine: Engine, log: FeedLog, revisions: range) -> None:
    engine.write([], log.append([change(revision) for revision in revisions]))


def told(engine: Engine, after: int = 0) -> list[int]:
    """The revisions of what is told after a place."""
    return [each.revision for some in read_changes(engine, after) for each in some if each.revision > after]


def stored(engine: Engine) -> list[bytes]:
    return [name for name, _ in engine.scan_facts(feed.PREFIX, feed.PREFIX + b"\xff")]


def step_of(keep: int) -> int:
    return max(1, keep // 50)


# -- what is appended is read ------------------------------------------------------------------------------------------


def test_what_is_told_is_what_was_appended() -> None:
    engine = MemoryEngine()
    log = opened(engine, 100)
    kinds = [
        [Change(PUT, b"a", 1), Change(DELETE, b"\0\xff", 2)],
        [Change(EXPIRE, b"a", 7)],
        [Change(TAKEN, b"", 9, 3, 2**62)],
    ]
    for changes in kinds:
        engine.write([], log.append(changes))
    assert list(read_changes(engine, 0)) == kinds
    assert stored(engine) == [name_of(2), name_of(7), name_of(9)]


def test_names_are_in_the_order_of_revisions() -> None:
    revisions = [0, 1, 255, 256, 2**32 - 1, 2**32, 2**62]
    assert sorted(map(name_of, reversed(revisions))) == [name_of(revision) for revision in revisions]


def test_from_any_place_to_any_place() -> None:
    """A commit that ends after a place is told whole: who asks knows what of it there was before."""
    engine = MemoryEngine()
    log = opened(engine, 100)
    commits = [range(1, 4), range(4, 5), range(10, 12), range(12, 15)]
    for revisions in commits:
        append(engine, log, revisions)
    for after, upto in itertools.product(range(17), [*range(17), None]):
        expected = [
            [change(revision) for revision in revisions]
            for revisions in commits
            if after < revisions[-1] and (upto is None or revisions[-1] <= upto)
        ]
        assert list(read_changes(engine, after, upto)) == expected, (after, upto)


def test_what_can_not_be_read_is_damage() -> None:
    engine = MemoryEngine()
    append(engine, opened(engine, 100), range(1, 2))
    for raw in (b"", b"\xc1", b"\x91\x01", b"\x91" * 100_000):
        engine.write([], [(name_of(2), raw)])
        with pytest.raises(StorageDamaged):
            list(read_changes(engine, 0))
        assert [each.revision for some in read_changes(engine, 0, 1) for each in some] == [1]
    for raw in (b"", b"\xc1", b"\x91\xa1x", b"\x91" * 100_000):
        with pytest.raises(StorageDamaged, match=r"here: the stored extent"):
            read_extent(raw, "here")
    assert read_extent(None, "here") == Extent()
    assert read_extent(extent_fact(Extent(7, (8, 9)))[1], "here") == Extent(7, (8, 9))


# -- how much is kept --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", KEPT)
def test_at_least_as_many_are_kept_and_few_more(keep: int) -> None:
    engine = MemoryEngine()
    log = opened(engine, keep)
    most = 0
    for revision in range(1, 3 * keep + 200):
        append(engine, log, range(revision, revision + 1))
        since = extent_of(engine).since
        assert log.extent == extent_of(engine)
        kept = revision - since
        assert kept >= min(revision, keep)
        most = max(most, kept)
        if revision % 7 == 0:
            assert stored(engine) == [name_of(each) for each in range(since + 1, revision + 1)], "all after it, no more"
    assert since > 0
    assert most <= keep + 3 * step_of(keep)


@pytest.mark.parametrize("keep", KEPT)
def test_one_commit_in_many_has_the_work(keep: int) -> None:
    engine = MemoryEngine()
    log = opened(engine, keep)
    written: list[int] = []
    for revision in range(1, 3 * keep + 200):
        facts = log.append([change(revision)])
        engine.write([], facts)
        written.append(len(facts))
    step = step_of(keep)
    milestones = [number for number, facts in enumerate(written, 1) if facts > 1]
    assert milestones == list(range(step, len(written) + 1, step))
    assert {facts for facts in written if facts > 1} == {2, 2 + step}, "the extent, and what goes"
    assert len(extent_of(engine).milestones) <= -(-keep // step) + 1


@pytest.mark.parametrize(("size", "every"), [(1, 20), (7, 3), (10, 2), (20, 1), (50, 1)])
@pytest.mark.parametrize("reopening", [False, True])
def test_it_is_changes_that_are_counted_whatever_commits_they_come_in(size: int, every: int, reopening: bool) -> None:
    engine = MemoryEngine()
    log = opened(engine, 1000)
    for number in range(100):
        append(engine, log, range(number * size + 1, (number + 1) * size + 1))
        if reopening:
            log = opened(engine, 1000)
    milestones = [number * size for number in range(every, 101, every)]
    assert extent_of(engine).milestones == tuple(milestones[-51:])


@given(
    sizes=st.lists(st.integers(1, 40), max_size=120), keep=st.integers(1, 120), reopened=st.sets(st.integers(0, 119))
)
def test_it_goes_on_after_any_reopening_as_if_it_had_not_been_closed(
    sizes: list[int], keep: int, reopened: set[int]
) -> None:
    """Whatever sizes commits have, each place that is said to be known is known in full."""
    engine, steady = MemoryEngine(), MemoryEngine()
    log, without_end = opened(engine, keep), opened(steady, keep)
    last = 0
    for number, size in enumerate(sizes):
        if number in reopened:
            engine = engine.crash()
            log = opened(engine, keep)
        revisions = range(last + 1, last + size + 1)
        last += size
        append(engine, log, revisions)
        append(steady, without_end, revisions)
        assert log.extent == without_end.extent == extent_of(engine)
        since = log.extent.since
        assert told(engine, since) == list(range(since + 1, last + 1))
        assert last - since >= min(last, keep)
        assert last - since <= (-(-keep // step_of(keep)) + 2) * (step_of(keep) - 1 + max(sizes))
    assert stored(engine) == stored(steady)


@pytest.mark.parametrize(("before", "after"), [(1000, 10), (10, 1000)])
def test_another_setting_holds_after_a_while(before: int, after: int) -> None:
    engine = MemoryEngine()
    for keep in (before, after):
        log = opened(engine, keep)
        for revision in range(log.extent.since + len(told(engine)) + 1, log.extent.since + len(told(engine)) + 5000):
            append(engine, log, range(revision, revision + 1))
        assert after != keep or keep <= len(stored(engine)) <= keep + 3 * step_of(keep)


# -- damage ------------------------------------------------------------------------------------------------------------


def test_what_can_not_be_deleted_is_deleted_when_it_can_be() -> None:
    """Meanwhile it is there, no place is said to be known that is not, and nothing of it is deleted."""
    engine = MemoryEngine()
    log = opened(engine, 50)
    for revision in range(1, 52):
        append(engine, log, range(revision, revision + 1))
    engine.damaged_facts = {name_of(1)}
    for revision in range(52, 80):
        append(engine, log, range(revision, revision + 1))
        assert extent_of(engine).since == 0
    assert extent_of(engine).milestones == tuple(range(1, 80))
    engine.damaged_facts = set()
    append(engine, log, range(80, 81))
    since = extent_of(engine).since
    assert 80 - since == 51, "all that is too old has gone at once"
    assert stored(engine) == [name_of(each) for each in range(since + 1, 81)]


def test_damage_does_not_keep_a_bucket_from_opening() -> None:
    """It serves its records; who asks for these changes is told of the damage."""
    engine = MemoryEngine()
    log = opened(engine, 1000)
    for revision in range(1, 31):
        append(engine, log, range(revision, revision + 1))
    engine.damaged_facts = {name_of(25)}
    again = opened(engine, 1000)
    append(engine, again, range(31, 32))
    assert extent_of(engine).milestones == (20, 31), "sooner rather than later"
    with pytest.raises(StorageDamaged):
        told(engine)
    assert told(engine, 25) == [26, 27, 28, 29, 30, 31]


# -- a storage that goes on for another --------------------------------------------------------------------------------


def test_one_that_goes_on_for_another_tells_nothing_of_what_was_before() -> None:
    engine = MemoryEngine()
    log = opened(engine, 100)
    append(engine, log, range(1, 2))
    engine.write([], log.begin_after(1000, 0))
    assert log.extent == extent_of(engine) == Extent(1000)
    append(engine, log, range(1001, 1002))
    assert extent_of(engine).milestones == (), "one change of two is no milestone: the count begins anew"
    append(engine, log, range(1002, 1003))
    assert extent_of(engine) == Extent(1000, (1002,))
    assert told(engine, 1000) == [1001, 1002]
    again = opened(engine.crash(), 100)
    assert again.extent == Extent(1000, (1002,))
