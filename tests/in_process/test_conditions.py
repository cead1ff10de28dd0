"""Conditions, counters and touches through a bucket's server: decided in order; what is not met changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app.operations import (
    Counted,
    Delete,
    Deleted,
    Get,
    Head,
    Increment,
    Missing,
    NotMet,
    Put,
    Touch,
    Touched,
    Value,
    Written,
)
from serve_app.operations.body import Body
from serve_app.operations.condition import ANY, Condition
from serve_app.operations.increment import HIGHEST, LOWEST
from serve_app.records import decode
from serve_app.wire.messages import Refused
from tests.support.clock import SECOND_MS, Clock
from tests.support.local_store import run_async
from tests.support.raw_client import greeted, serving

#: The record that there is has revision 1.
MET, NOT_MET = Condition(if_match=(1,)), Condition(if_match=(7,))
NEW = Condition(if_none_match=(ANY,))


@pytest.mark.parametrize("cold", [False, True], ids=["in memory", "on disk"])
@run_async
async def test_a_read_says_whether_its_client_has_it_already(cold: bool) -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"k", b"v", "text/plain"))
        bucket.engine.cold = {b"k", b"none"} if cold else set()
        now_ms = clock.now_ms
        for reading in (Get, Head):
            (plain,) = await client.ask(reading(b"k"))
            assert plain.modified_ms == now_ms
            for condition, answer in (
                (MET, plain),
                (NOT_MET, NotMet(1, now_ms)),
                (Condition(if_none_match=(1,)), NotMet(1, now_ms, unchanged=True)),
                (Condition(if_none_match=(7,)), plain),
                (Condition(modified_since_s=now_ms // 1000), NotMet(1, now_ms, unchanged=True)),
                (Condition(modified_since_s=now_ms // 1000 - 1), plain),
                (Condition(unmodified_since_s=now_ms // 1000 - 1), NotMet(1, now_ms)),
            ):
                assert await client.ask(reading(b"k", condition=condition)) == [answer], condition
            assert await client.ask(reading(b"none", condition=MET)) == [Missing()], "whatever is asked"


UNMET: dict[str, tuple[Body[Any], Any]] = {
    "put": (Put(b"k", b"new", "", condition=NOT_MET), NotMet(1, Clock().now_ms)),
    "put of a new one": (Put(b"k", b"new", "", condition=NEW), NotMet(1, Clock().now_ms)),
    "put of one that was": (Put(b"none", b"new", "", condition=MET), NotMet(0)),
    "delete": (Delete(b"k", condition=NOT_MET), NotMet(1, Clock().now_ms)),
    "delete of none": (Delete(b"none", condition=MET), Missing()),
    "touch": (Touch(b"k", condition=NOT_MET), NotMet(1, Clock().now_ms)),
    "touch of none": (Touch(b"none", condition=MET), Missing()),
    "increment": (Increment(b"k", condition=NOT_MET), NotMet(1, Clock().now_ms)),
    "increment of one that was": (Increment(b"none", condition=MET), NotMet(0)),
}


@pytest.mark.parametrize(("body", "answer"), UNMET.values(), ids=UNMET)
@run_async
async def test_a_write_whose_condition_is_not_met_changes_nothing(body: Body[Any], answer: Any) -> None:
    async with serving(platform=Clock().platform()) as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"k", b"1", ""))
        before, writes = bucket.records, bucket.engine.writes
        assert await client.ask(body) == [answer]
        assert bucket.records == before
        assert bucket.engine.writes == writes
        assert await client.ask(Put(b"other", b"v", "")) == [Written(True, 2)], "no revision was used up"


@run_async
async def test_a_write_whose_condition_is_met_is_carried_out() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        assert await client.ask(Put(b"k", b"1", "a/b", condition=NEW)) == [Written(True, 1)]
        assert await client.ask(Put(b"k", b"2", "a/b", condition=MET)) == [Written(False, 2)]
        assert await client.ask(Increment(b"k", condition=Condition(if_match=(2, 9)))) == [Counted(3, 3)]
        assert await client.ask(Touch(b"k", condition=Condition(if_match=(ANY,)))) == [Touched(0, 4)]
        assert await client.ask(Delete(b"k", condition=Condition(if_match=(4,)))) == [Deleted(b"3", "a/b", 5)]
        assert await client.ask(Delete(b"k", with_value=False)) == [Missing()]


@run_async
async def test_of_many_that_build_on_the_same_record_one_wins() -> None:
    """Together in one group: each sees what those before it have left."""
    async with serving() as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"k", b"0", ""))
        answers = await client.ask(*(Put(b"k", b"%d" % number, "", condition=MET) for number in range(20)))
        assert answers[0] == Written(False, 2)
        assert all(isinstance(answer, NotMet) and answer.revision == 2 for answer in answers[1:])
        assert decode(bucket.records[b"k"]).value == b"0"


@run_async
async def test_no_increment_is_lost() -> None:
    async with serving() as bucket:
        one, other = await greeted(bucket), await greeted(bucket)
        for turn in range(5):
            answers = [*await one.ask(*[Increment(b"n")] * 50), *await other.ask(*[Increment(b"n", by=-1)] * 49)]
            assert answers[49].value == turn + 50
            assert answers[-1].value == turn + 1
        record = decode(bucket.records[b"n"])
        assert (record.value, record.content_type) == (b"5", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("value", "by", "outcome"),
    [
        (b"41", 1, 42),
        (b"0", -1, -1),
        (b"-1", 1, 0),
        (b"%d" % HIGHEST, 0, HIGHEST),
        (b"%d" % LOWEST, HIGHEST, -1),
        (b"%d" % HIGHEST, 1, "overflow"),
        (b"%d" % LOWEST, -1, "overflow"),
        (b"%d" % (HIGHEST + 1), -1, "not-a-number"),
        (b"", 1, "not-a-number"),
        (b"1.0", 1, "not-a-number"),
        (b"01", 1, "not-a-number"),
        (b"+1", 1, "not-a-number"),
        (b"1\n", 1, "not-a-number"),
        (b"\xd9\xa1", 1, "not-a-number"),
        (b"9" * 5000, 1, "not-a-number"),
    ],
)
@run_async
async def test_a_number_is_decimal_text_of_64_bits(value: bytes, by: int, outcome: int | str) -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"n", value, "x/y"))
        before = bucket.records
        (answer,) = await client.ask(Increment(b"n", by=by))
        if isinstance(outcome, int):
            assert answer == Counted(outcome, 2)
            assert decode(bucket.records[b"n"]).value == b"%d" % outcome
            assert decode(bucket.records[b"n"]).content_type == "x/y"
        else:
            assert isinstance(answer, Refused)
            assert answer.reason == outcome
            assert bucket.records == before


@run_async
async def test_what_is_added_has_64_bits_too() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        assert Increment(b"n", by=LOWEST - 1).problem()
        for by in (HIGHEST + 1, 2**64 - 1):
            (answer,) = await client.ask(Increment(b"n", by=by))
            assert isinstance(answer, Refused)
            assert answer.reason == "invalid"
        assert bucket.records == {}


@run_async
async def test_a_touch_leaves_the_value_and_when_it_was_modified() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"k", b"v", "a/b"))
        made_ms = clock.now_ms
        clock.advance(SECOND_MS)
        at_ms = clock.now_ms + SECOND_MS
        assert await client.ask(Touch(b"k", ttl_ms=SECOND_MS)) == [Touched(at_ms, 2)]
        assert await client.ask(Get(b"k")) == [Value(b"v", "a/b", 2, made_ms, at_ms)]
        (late,) = await client.ask(Touch(b"k", expires_ms=clock.now_ms))
        assert isinstance(late, Refused)
        assert late.reason == "invalid"
        assert await client.ask(Get(b"k")) == [Value(b"v", "a/b", 2, made_ms, at_ms)]


@run_async
async def test_a_record_that_is_imported_keeps_its_times() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"k", b"v", "", created_ms=5, modified_ms=6))
        record = decode(bucket.records[b"k"])
        assert (record.created_ms, record.modified_ms) == (5, 6)
        await client.ask(Increment(b"n"))
        clock.advance(SECOND_MS)
        await client.ask(Put(b"k", b"w", ""), Increment(b"n"))
        for key, created_ms in ((b"k", 5), (b"n", clock.now_ms - SECOND_MS)):
            record = decode(bucket.records[key])
            assert (record.created_ms, record.modified_ms) == (created_ms, clock.now_ms)


@run_async
async def test_a_full_disk_refuses_what_needs_space() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"n", b"1", ""))
        assert bucket.server is not None
        bucket.server.bucket._committer._reserve_bytes = 10
        bucket.engine.free = 9
        refused = await client.ask(Increment(b"n"), Touch(b"n"), Put(b"n", b"2", ""))
        assert [answer.reason for answer in refused] == ["disk-full"] * 3
        assert await client.ask(Delete(b"n", with_value=False)) == [Deleted(b"", "", 2)]
