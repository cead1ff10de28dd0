"""A request that an idempotency key names: one that comes again gets the answer of the first, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app import outcomes
from serve_app.operations import Counted, Delete, Get, Increment, Missing, Put, Touch, Value, Written
from serve_app.operations.body import Body
from serve_app.operations.condition import ANY, Condition
from serve_app.outcomes import OUTCOMES_KEPT_MS
from serve_app.placement import bucket_of
from serve_app.records import decode
from serve_app.settings import Limits
from serve_app.storage import due
from serve_app.storage.feed import read_changes
from serve_app.wire.messages import Batch, Refused
from tests.support.clock import HOUR_MS, SECOND_MS, Clock
from tests.support.local_store import TEST_LIMITS, LocalBucket, local_store, run_async, until
from tests.support.quick_moves import filled, move_quickly, settled
from tests.support.raw_client import greeted, serving

ONCE = b"once"


def remembered(bucket: LocalBucket) -> list[bytes]:
    return [name for name, _ in bucket.engine.scan_facts(*outcomes.bounds(b"", None))]


def changes_of(bucket: LocalBucket) -> int:
    return sum(map(len, read_changes(bucket.engine, 0)))


WRITES: dict[str, Body[Any]] = {
    "put": Put(b"k", b"9", "a/b", idempotency_key=ONCE),
    "put that expires": Put(b"k", b"9", "a/b", ttl_ms=HOUR_MS, idempotency_key=ONCE),
    "put with a condition": Put(b"k", b"9", "a/b", condition=Condition(if_match=(1,)), idempotency_key=ONCE),
    "delete": Delete(b"k", idempotency_key=ONCE),
    "touch": Touch(b"k", ttl_ms=HOUR_MS, idempotency_key=ONCE),
    "increment": Increment(b"k", by=2, idempotency_key=ONCE),
}


@pytest.mark.parametrize("body", WRITES.values(), ids=WRITES)
@run_async
async def test_it_is_carried_out_once_and_answered_each_time(body: Body[Any]) -> None:
    """In one group, in another, by another client, and after a restart."""
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"k", b"1", ""))
        first, again = await client.ask(body, body)
        assert not isinstance(first, Refused | Missing)
        assert again == first
        after, changes = bucket.records, changes_of(bucket)
        assert changes == 2
        clock.advance(SECOND_MS)
        assert await (await greeted(bucket)).ask(body, body) == [first, first]
        await bucket.crash()
        await bucket.start()
        client = await greeted(bucket)
        assert await client.ask(body) == [first]
        assert (bucket.records, changes_of(bucket)) == (after, changes)
        assert remembered(bucket) == [outcomes.name_of(b"k", ONCE)]
        assert await client.ask(Put(b"other", b"v", "")) == [Written(True, first.revision + 1)]


@run_async
async def test_what_came_between_is_not_undone() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        mine = Put(b"k", b"mine", "", idempotency_key=ONCE)
        assert await client.ask(mine) == [Written(True, 1)]
        assert await client.ask(Put(b"k", b"theirs", "")) == [Written(False, 2)]
        assert await client.ask(mine) == [Written(True, 1)]
        assert decode(bucket.records[b"k"]).value == b"theirs"
        await client.ask(Delete(b"k"))
        assert await client.ask(mine) == [Written(True, 1)]
        assert bucket.records == {}


@run_async
async def test_another_request_under_the_same_name_is_refused() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"k", b"1", "", idempotency_key=ONCE))
        before = bucket.records
        others = [
            Put(b"k", b"2", "", idempotency_key=ONCE),
            Put(b"k", b"1", "a/b", idempotency_key=ONCE),
            Put(b"k", b"1", "", ttl_ms=1, idempotency_key=ONCE),
            Put(b"k", b"1", "", condition=Condition(if_match=(ANY,)), idempotency_key=ONCE),
            Delete(b"k", idempotency_key=ONCE),
            Increment(b"k", idempotency_key=ONCE),
        ]
        answers = await client.ask(*others)
        assert [(type(answer), answer.reason) for answer in answers] == [(Refused, "key-reused")] * len(others)
        assert bucket.records == before
        assert await client.ask(Put(b"other", b"2", "", idempotency_key=ONCE)) == [Written(True, 2)], "of another key"
        assert await client.ask(Put(b"k", b"2", "", idempotency_key=b"twice")) == [Written(False, 3)], "by another name"


@pytest.mark.parametrize("named", [b"x" * 65, b"a b", b"\xc3\xa4", b"\0\x01", b"\x7f"])
@run_async
async def test_a_name_is_of_visible_characters_and_short(named: bytes) -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        (refused,) = await client.ask(Put(b"k", b"v", "", idempotency_key=named))
        assert isinstance(refused, Refused)
        assert refused.reason == "invalid"
        assert bucket.records == {}


@run_async
async def test_it_is_forgotten_after_ten_minutes() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        counted = Increment(b"n", idempotency_key=ONCE)
        assert OUTCOMES_KEPT_MS == 10 * 60 * 1000
        assert await client.ask(counted) == [Counted(1, 1)]
        clock.advance(OUTCOMES_KEPT_MS - 1)
        assert await client.ask(counted) == [Counted(1, 1)]
        clock.advance(1)
        await until(lambda: remembered(bucket) == [])
        assert not list(bucket.engine.scan_facts(*due.bounds(0, 1 << 62)))
        await until(lambda: bucket.server.bucket.totals.outcomes == 0)  # type: ignore[union-attr]
        assert await client.ask(counted) == [Counted(2, 2)]


@run_async
async def test_it_is_forgotten_sooner_where_it_says_so() -> None:
    """A client that will not ask again after its deadline: at many thousand writes a second all room would be taken else."""
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        counted = Increment(b"n", idempotency_key=ONCE, remember_ms=90_000)
        assert await client.ask(counted) == [Counted(1, 1)]
        clock.advance(89_999)
        assert await client.ask(counted) == [Counted(1, 1)]
        clock.advance(1)
        await until(lambda: remembered(bucket) == [])
        assert await client.ask(counted) == [Counted(2, 2)]
        for wrong in (-1, OUTCOMES_KEPT_MS + 1):
            (refused,) = await client.ask(Increment(b"n", idempotency_key=ONCE, remember_ms=wrong))
            assert isinstance(refused, Refused)
            assert refused.reason == "invalid"


@run_async
async def test_of_what_the_record_has_become_the_outcome_knows_nothing() -> None:
    """An expired record takes no outcome with it."""
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        put = Put(b"k", b"v", "", ttl_ms=SECOND_MS, idempotency_key=ONCE)
        assert await client.ask(put) == [Written(True, 1)]
        clock.advance(SECOND_MS)
        await until(lambda: bucket.records == {})
        assert await client.ask(put) == [Written(True, 1)]
        assert await client.ask(Get(b"k")) == [Missing()]


@run_async
async def test_only_so_many_are_remembered() -> None:
    clock = Clock()
    limits = Limits(**{**TEST_LIMITS.model_dump(), "max_outcomes": 3})
    async with serving(limits, clock.platform()) as bucket:
        client = await greeted(bucket)
        named = [Increment(b"n", idempotency_key=b"%d" % number) for number in range(5)]
        answers = await client.ask(*named)
        assert answers[:3] == [Counted(1, 1), Counted(2, 2), Counted(3, 3)]
        assert [(type(answer), answer.reason) for answer in answers[3:]] == [(Refused, "busy")] * 2
        assert decode(bucket.records[b"n"]).value == b"3"
        assert await client.ask(named[0], Increment(b"n")) == [Counted(1, 1), Counted(4, 4)], "others go on"
        clock.advance(OUTCOMES_KEPT_MS)
        await until(lambda: remembered(bucket) == [])
        assert await client.ask(named[4]) == [Counted(5, 5)]


@run_async
async def test_in_a_batch_it_is_as_if_it_had_come_alone() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        counted = Increment(b"n", idempotency_key=ONCE)
        (batch,) = await client.ask(Batch([counted, Increment(b"n"), counted]))
        assert batch.answers == [Counted(1, 1), Counted(2, 2), Counted(1, 1)]
        assert await client.ask(counted) == [Counted(1, 1)]


@run_async
async def test_damage_to_what_is_remembered_refuses_that_request_alone() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        put = Put(b"k", b"v", "", idempotency_key=ONCE)
        await client.ask(put)
        bucket.engine.write([], [(outcomes.name_of(b"k", ONCE), b"\xc1")])
        refused, other = await client.ask(put, Put(b"k", b"w", "", idempotency_key=b"twice"))
        assert isinstance(refused, Refused)
        assert refused.reason == "fault"
        assert other == Written(False, 2)


@run_async
async def test_it_moves_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a key whose record is gone: and the bucket that it has left remembers nothing."""
    move_quickly(monkeypatch)
    clock = Clock()
    keys = [b"key-%03d" % number for number in range(60)]
    async with local_store(3, platform=clock.platform()) as store:
        directory = await filled(store, 1, keys)
        puts = [Put(key, b"once", "", idempotency_key=ONCE) for key in keys]
        first = [(await directory.carry_out(put)).answer for put in puts]
        for key in keys[::2]:
            await directory.carry_out(Delete(key))
        for count in (3, 2):
            directory.configuration.follow(count)
            await until(lambda count=count: settled(directory, count), 30)  # type: ignore[misc]
            assert [(await directory.carry_out(put)).answer for put in puts] == first
            for bucket in store.buckets[:count]:
                names = remembered(bucket)
                assert {bucket_of(outcomes.key_in(name), count) for name in names} == {bucket.bucket_id}
                assert bucket.server is not None
                assert bucket.server.bucket.totals.outcomes == len(names)
        assert sum(len(remembered(bucket)) for bucket in store.buckets) == len(keys)
        for number, key in enumerate(keys):
            answer = (await directory.carry_out(Get(key))).answer
            assert isinstance(answer, Missing if number % 2 == 0 else Value)
        clock.advance(OUTCOMES_KEPT_MS)
        await until(lambda: not any(remembered(bucket) for bucket in store.buckets))
