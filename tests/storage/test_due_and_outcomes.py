"""What is due, and what came of requests: exact after whatever changes them, and named so that they are in order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serve_app import outcomes
from serve_app.errors import StorageDamaged
from serve_app.outcomes import Outcome, key_in, name_of
from serve_app.records import Record, encode, expires_ms
from serve_app.storage import due
from serve_app.storage.due import OUTCOME, RECORD, Due, due_name
from serve_app.storage.engine import Engine
from serve_app.storage.facts import Totals, read_bucket_facts
from serve_app.storage.feed import FeedLog
from serve_app.storage.group import Group
from tests.support.memory_engine import new_bucket_engine

TIMES = st.integers(0, 2**63)
KINDS = st.sampled_from([RECORD, OUTCOME])
#: Keys are UTF-8, which has no byte FF; those with 00 and 01 in them are what names could go wrong with.
KEYS = st.one_of(
    st.lists(st.sampled_from([b"\0", b"\x01", b"\x02", b"a", b"\xfe"]), max_size=6).map(b"".join),
    st.binary(max_size=20).map(lambda key: key.replace(b"\xff", b"")),
)
REQUESTS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=8).map(str.encode)

# -- names -------------------------------------------------------------------------------------------------------------


@given(TIMES, KINDS, st.binary(max_size=30))
def test_a_name_says_what_is_due_and_when(at_ms: int, kind: due.Kind, name: bytes) -> None:
    assert due.parse(due_name(at_ms, kind, name)) == Due(at_ms, kind, name)


@given(st.lists(st.tuples(TIMES, KINDS, KEYS)))
def test_what_is_due_sooner_comes_first(dues: list[tuple[int, due.Kind, bytes]]) -> None:
    assert [due.parse(name) for name in sorted(due_name(*each) for each in dues)] == sorted(Due(*each) for each in dues)


@given(TIMES | st.integers(0, 5), KINDS, st.binary(max_size=9), st.integers(0, 5) | TIMES, st.integers(0, 5) | TIMES)
@example(7, OUTCOME, b"\xff" * 9, 7, 7)
@example(7, RECORD, b"", 7, 7)
@example(8, RECORD, b"", 7, 7)
@example(6, OUTCOME, b"\xff", 7, 7)
@example(255, OUTCOME, b"\xff", 0, 255)
def test_bounds_of_what_is_due_are_exact(at_ms: int, kind: due.Kind, name: bytes, from_ms: int, to_ms: int) -> None:
    start, end = due.bounds(from_ms, to_ms)
    assert (start <= due_name(at_ms, kind, name) < end) == (from_ms <= at_ms <= to_ms)


@given(st.binary(max_size=30), REQUESTS)
@example(b"\0", b"x")
@example(b"\0\x01", b"x")
@example(b"\0\xff\0\x01\xff", b"x")
@example(b"\0\0\x01\x01", b"!")
def test_the_key_in_the_name_of_an_outcome_is_its_records(key: bytes, request: bytes) -> None:
    assert key_in(name_of(key, request)) == key


@given(st.lists(st.tuples(KEYS, REQUESTS), unique=True))
@example([(b"a", b"~"), (b"a\0", b"!"), (b"a\0\x01", b"!"), (b"a\x01", b"!"), (b"", b"~")])
def test_names_of_outcomes_are_in_the_order_of_keys(named: list[tuple[bytes, bytes]]) -> None:
    names = {name_of(*each): each for each in named}
    assert len(names) == len(named), "and each has one of its own"
    assert [names[name] for name in sorted(names)] == sorted(named)


@given(KEYS, REQUESTS, KEYS, KEYS | st.none())
@example(b"a", b"~", b"a", b"a\0")
@example(b"a\0", b"!", b"a", b"a\0")
@example(b"a\0", b"!", b"a\0", None)
@example(b"a", b"~", b"a\0", None)
@example(b"\0", b"!", b"", b"\0\0")
@example(b"\xfe\xfe", b"~", b"", None)
def test_bounds_of_outcomes_are_exact(key: bytes, request: bytes, start: bytes, end: bytes | None) -> None:
    low, high = outcomes.bounds(start, end)
    assert (low <= name_of(key, request) < high) == (start <= key and (end is None or key < end))


@pytest.mark.parametrize(
    "name", [b"", b"bucket.outcome/", b"bucket.outcome/k", b"bucket.outcome/k\0\xffx", b"bucket.due/k\0\x01x"]
)
def test_what_is_no_name_of_an_outcome_is_damage(name: bytes) -> None:
    with pytest.raises(StorageDamaged, match="no name of an outcome"):
        key_in(name)


def test_an_outcome_is_read_as_it_was_kept() -> None:
    outcome = Outcome(7, b"digest", b"answer")
    assert outcomes.decode(outcomes.encode(outcome)) == outcome
    for raw in (b"", b"\xc1", b"\x91\x07", b"\x91" * 100_000):
        with pytest.raises(StorageDamaged, match="outcome"):
            outcomes.decode(raw)


# -- counts and index ---------------------------------------------------------------------------------------------------


class Groups:
    """Groups on an engine, and what is to be on it."""

    def __init__(self) -> None:
        self.engine: Engine = new_bucket_engine(0)
        self.totals = Totals(0, 0, 0)
        self.records: dict[bytes, bytes] = {}
        self.outcomes: dict[bytes, Outcome] = {}
        self.feed = FeedLog(self.engine, read_bucket_facts(self.engine.get_fact, "here").feed, 100)
        self.begin()

    def begin(self) -> None:
        self.group = Group(self.engine, self.totals, self.feed)
        #: What the group has touched: `drop` is for what nobody else changes in it.
        self.touched: set[bytes] = set()

    def commit(self) -> None:
        self.group.write()
        self.totals = self.group.totals
        self.check()
        self.begin()

    def put(self, key: bytes, at_ms: int, size: int) -> None:
        raw = encode(Record(b"v" * size, "", self.group.next_revision(), 1, 1, at_ms))
        self.group.put(key, raw)
        self.records[key] = raw
        self.touched.add(key)

    def delete(self, key: bytes) -> None:
        if self.records.pop(key, None) is not None:
            self.group.delete(key)
            self.touched.add(key)

    def drop(self, key: bytes) -> None:
        if key not in self.touched and (raw := self.records.pop(key, None)) is not None:
            self.group.drop(key, raw)
            self.touched.add(key)

    def keep_outcome(self, key: bytes, due_ms: int) -> None:
        name, outcome = name_of(key, b"once"), Outcome(due_ms, b"request", b"answer")
        if name not in self.outcomes:
            self.group.keep_outcome(name, outcome)
            self.outcomes[name] = outcome

    def drop_outcome(self, key: bytes) -> None:
        outcome = self.outcomes.pop(name_of(key, b"once"), None)
        if outcome is not None:
            self.group.drop_outcome(name_of(key, b"once"), outcome)

    def check(self) -> None:
        engine = self.engine
        assert dict(engine.scan()) == self.records
        size = sum(len(key) + len(raw) for key, raw in self.records.items())
        counted = (len(self.records), size, len(self.outcomes))
        assert (self.totals.keys, self.totals.bytes, self.totals.outcomes) == counted
        if self.totals.sequence:
            assert read_bucket_facts(engine.get_fact, "here").totals == self.totals
        kept = dict(engine.scan_facts(*outcomes.bounds(b"", None)))
        assert {name: outcomes.decode(raw) for name, raw in kept.items()} == self.outcomes
        records = {Due(at_ms, RECORD, key) for key, raw in self.records.items() if (at_ms := expires_ms(raw))}
        remembered = {Due(outcome.due_ms, OUTCOME, name) for name, outcome in self.outcomes.items()}
        indexed = [due.parse(name) for name, _ in engine.scan_facts(*due.bounds(0, 2**63))]
        assert indexed == sorted(records | remembered)


FEW_KEYS = st.sampled_from([b"a", b"a\0", b"b"])
FEW_TIMES = st.sampled_from([0, 1, 2, 2**40])
STEPS = st.one_of(
    st.tuples(st.just("put"), FEW_KEYS, FEW_TIMES, st.sampled_from([0, 1, 100])),
    st.tuples(st.just("delete"), FEW_KEYS),
    st.tuples(st.just("drop"), FEW_KEYS),
    st.tuples(st.just("keep_outcome"), FEW_KEYS, st.integers(1, 3)),
    st.tuples(st.just("drop_outcome"), FEW_KEYS),
    st.tuples(st.just("commit")),
)


@given(st.lists(STEPS, max_size=40))
@example([("put", b"a", 1, 0), ("put", b"a", 1, 1), ("commit",), ("put", b"a", 1, 0), ("commit",), ("drop", b"a")])
@example([("put", b"a", 1, 0), ("commit",), ("put", b"a", 0, 0), ("commit",), ("put", b"a", 2, 0), ("delete", b"a")])
@example([("keep_outcome", b"a", 1), ("drop_outcome", b"a"), ("keep_outcome", b"a", 1), ("commit",)])
@example([("keep_outcome", b"a", 1), ("commit",), ("drop_outcome", b"a"), ("keep_outcome", b"a", 2)])
@example([("put", b"a", 1, 0), ("put", b"a\0", 1, 0), ("commit",), ("delete", b"a"), ("put", b"a", 1, 0)])
def test_counts_and_index_are_exact_after_each_commit(steps: list[tuple[Any, ...]]) -> None:
    groups = Groups()
    for name, *arguments in steps:
        getattr(groups, name)(*arguments)
    groups.commit()


def test_a_window_that_is_taken_in_is_indexed_too() -> None:
    groups = Groups()
    groups.put(b"a", 5, 1)
    groups.commit()
    window = {key: encode(Record(b"w", "", 9, 1, 1, at_ms)) for key, at_ms in ((b"a", 7), (b"b", 0), (b"c", 3))}
    groups.group.put_all(window)
    groups.records |= window
    groups.commit()


def test_a_group_sees_the_outcomes_that_it_keeps_and_drops() -> None:
    groups = Groups()
    name, outcome = name_of(b"a", b"once"), Outcome(1, b"request", b"answer")
    assert groups.group.outcome(name) is None
    groups.keep_outcome(b"a", 1)
    assert groups.group.outcome(name) == outcome
    groups.commit()
    assert groups.group.outcome(name) == outcome, "from the disk"
    groups.drop_outcome(b"a")
    assert groups.group.outcome(name) is None
    groups.commit()
    assert groups.group.outcome(name) is None
    groups.engine.write([], [(name, b"\xc1")])
    with pytest.raises(StorageDamaged):
        groups.group.outcome(name)


def test_a_group_of_an_outcome_alone_is_a_commit_that_tells_nothing() -> None:
    groups = Groups()
    groups.keep_outcome(b"a", 1)
    commit = groups.group.write()
    assert commit is not None
    assert (commit.records, commit.changes, commit.sequence) == ((), (), 1)
