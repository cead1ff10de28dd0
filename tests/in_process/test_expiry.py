"""Records that expire: gone when their time has come, for good, and without anybody's asking."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from serve_app.bucket import expiry
from serve_app.changes import DELETE, EXPIRE, PUT, Change
from serve_app.operations import Counted, Delete, Get, Head, Increment, Missing, Put, Touch, Touched, Value, Written
from serve_app.operations.body import Body
from serve_app.operations.condition import ANY, Condition
from serve_app.storage import due
from serve_app.storage.engine import Changes as EngineChanges
from serve_app.storage.feed import read_changes
from serve_app.wire.messages import Batch, BatchAnswered, Envelope, List, Listed, Refused
from tests.support.clock import HOUR_MS, Clock
from tests.support.local_store import LocalBucket, run_async, until
from tests.support.raw_client import RawClient, greeted, serving

TTL_MS = 60_000


def dues(bucket: LocalBucket) -> list[due.Due]:
    return [due.parse(name) for name, _ in bucket.engine.scan_facts(*due.bounds(0, 1 << 62))]


def told(bucket: LocalBucket) -> list[Change]:
    return [change for some in read_changes(bucket.engine, 0) for change in some]


async def expired(bucket: LocalBucket, clock: Clock, *keys: bytes) -> RawClient:
    """A client that has put these; their time has come, and nobody has looked yet."""
    client = await greeted(bucket)
    await client.ask(*(Put(key, b"v", "text/plain", ttl_ms=TTL_MS) for key in keys))
    clock.advance(TTL_MS)
    return client


@pytest.fixture
def nobody_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not looked at stays."""

    async def rest(self: expiry.Expiry) -> float:
        return 3600.0

    monkeypatch.setattr(expiry.Expiry, "_step", rest)


# -- whoever looks -----------------------------------------------------------------------------------------------------

ALL = List(b"", b"", b"", 10, False, False)
READS: dict[str, tuple[Body[Any], Any]] = {
    "get": (Get(b"k"), Missing()),
    "head": (Head(b"k"), Missing()),
    "a batch of reads": (Batch([Get(b"k"), Head(b"k"), Get(b"none")]), BatchAnswered([Missing()] * 3)),
    "a batch that writes": (Batch([Get(b"k"), Delete(b"none", with_value=False)]), BatchAnswered([Missing()] * 2)),
    "list": (ALL, Listed([], [], b"")),
}


@pytest.mark.usefixtures("nobody_deletes")
@pytest.mark.parametrize("cold", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize(("body", "answer"), READS.values(), ids=READS)
@run_async
async def test_a_read_is_answered_as_missing_once_the_deletion_is_durable(
    body: Body[Any], answer: Any, cold: bool
) -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await expired(bucket, clock, b"k")
        bucket.engine.cold = {b"k"} if cold else set()
        writing, let_go, write = threading.Event(), threading.Event(), bucket.engine.write

        def held(records: EngineChanges, facts: EngineChanges) -> None:
            writing.set()
            assert let_go.wait(10)
            write(records, facts)

        bucket.engine.write = held  # type: ignore[method-assign]
        client.send(Envelope(7, 20_000, 1 if body is ALL else 0, body))
        reply = asyncio.create_task(client.receive_reply())
        await until(writing.is_set)
        await asyncio.sleep(0.05)
        assert not reply.done()
        assert b"k" in bucket.records
        let_go.set()
        assert (await reply).answer == answer
        assert bucket.records == {}
        assert dues(bucket) == []
        assert told(bucket)[1:] == [Change(EXPIRE, b"k", 2)]


@pytest.mark.usefixtures("nobody_deletes")
@run_async
async def test_where_the_deletion_fails_nothing_is_answered() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await expired(bucket, clock, b"k")
        bucket.engine.fail_next_write = True
        client.send(Envelope(1, 20_000, 0, Get(b"k")))
        reply = asyncio.create_task(client.receive_reply())
        await until(lambda: len(bucket.failures) == 1)
        await asyncio.sleep(0.05)
        assert not reply.done(), "the process ends here"
        reply.cancel()


@run_async
async def test_it_is_there_until_the_very_millisecond() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        at_ms = clock.now_ms + TTL_MS
        assert await client.ask(Put(b"k", b"v", "", ttl_ms=TTL_MS)) == [Written(True, 1)]
        clock.advance(TTL_MS - 1)
        made_ms = at_ms - TTL_MS
        assert await client.ask(Get(b"k")) == [Value(b"v", "", 1, made_ms, at_ms)]
        clock.advance(1)
        assert await client.ask(Get(b"k")) == [Missing()]


@pytest.mark.parametrize("cold", [False, True], ids=["in memory", "on disk"])
@run_async
async def test_what_was_missing_stays_missing_whatever_the_clock_does(cold: bool) -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await expired(bucket, clock, b"k", b"unseen")
        bucket.engine.cold = {b"k"} if cold else set()
        assert await client.ask(Get(b"k")) == [Missing()]
        clock.advance(-HOUR_MS)
        assert await client.ask(Get(b"k"), Head(b"k"), Delete(b"k"), Touch(b"k")) == [Missing()] * 4
        await bucket.crash()
        await bucket.start()
        client = await greeted(bucket)
        assert await client.ask(Get(b"k")) == [Missing()]
        assert await client.ask(Put(b"k", b"again", "")) == [Written(True, bucket.server.bucket.totals.revision)]  # type: ignore[union-attr]


# -- whoever writes ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nobody_deletes")
@run_async
async def test_a_write_finds_no_record() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await expired(bucket, clock, b"put", b"delete", b"touch", b"count", b"condition")
        answers = await client.ask(
            Put(b"put", b"new", ""),
            Delete(b"delete"),
            Touch(b"touch", ttl_ms=TTL_MS),
            Increment(b"count", by=3),
            Put(b"condition", b"new", "", condition=Condition(if_none_match=(ANY,))),
        )
        assert answers == [Written(True, 7), Missing(), Missing(), Counted(3, 11), Written(True, 13)]
        assert told(bucket)[5:] == [
            Change(EXPIRE, b"put", 6),
            Change(PUT, b"put", 7),
            Change(EXPIRE, b"delete", 8),
            Change(EXPIRE, b"touch", 9),
            Change(EXPIRE, b"count", 10),
            Change(PUT, b"count", 11),
            Change(EXPIRE, b"condition", 12),
            Change(PUT, b"condition", 13),
        ]
        assert bucket.records.keys() == {b"put", b"count", b"condition"}
        assert dues(bucket) == []


@run_async
async def test_each_write_says_anew_when_it_expires() -> None:
    """And the index has one place for each record that does, at that time."""
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        soon, later = clock.now_ms + 1000, clock.now_ms + HOUR_MS
        steps: list[tuple[Body[Any], list[due.Due]]] = [
            (Put(b"k", b"1", "", ttl_ms=1000), [due.Due(soon, due.RECORD, b"k")]),
            (Put(b"k", b"2", "", expires_ms=later), [due.Due(later, due.RECORD, b"k")]),
            (Increment(b"k", by=5, ttl_ms=1), [due.Due(later, due.RECORD, b"k")]),
            (Touch(b"k", ttl_ms=1000), [due.Due(soon, due.RECORD, b"k")]),
            (Touch(b"k"), []),
            (Touch(b"k", expires_ms=later), [due.Due(later, due.RECORD, b"k")]),
            (Put(b"k", b"3", ""), []),
            (Increment(b"n", ttl_ms=1000), [due.Due(soon, due.RECORD, b"n")]),
            (Delete(b"n"), []),
        ]
        for body, indexed in steps:
            await client.ask(body)
            assert dues(bucket) == indexed, body
        assert told(bucket)[-1] == Change(DELETE, b"n", 9)
        assert await client.ask(Touch(b"k", expires_ms=later)) == [Touched(later, 10)]
        assert await client.ask(Get(b"k")) == [Value(b"3", "", 10, clock.now_ms, later)]


# -- nobody ------------------------------------------------------------------------------------------------------------


@run_async
async def test_what_nobody_looks_at_goes_too() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        keys = [b"k%03d" % number for number in range(300)]
        await client.ask(Put(b"stays", b"v", ""), Put(b"later", b"v", "", ttl_ms=2 * TTL_MS))
        await client.ask(*(Put(key, b"v", "", ttl_ms=TTL_MS - number) for number, key in enumerate(keys)))
        await asyncio.sleep(0.1)
        assert len(bucket.records) == 302
        clock.advance(TTL_MS)
        await until(lambda: len(bucket.records) == 2)
        assert bucket.records.keys() == {b"stays", b"later"}
        await until(lambda: len(told(bucket)) == 602)
        assert [change.key for change in told(bucket)[302:]] == keys[::-1], "in the order of their times"
        assert {change.kind for change in told(bucket)[302:]} == {EXPIRE}
        assert [each.name for each in dues(bucket)] == [b"later"]
        assert bucket.server is not None
        assert bucket.server.bucket.totals.keys == 2
        clock.advance(TTL_MS)
        await until(lambda: bucket.records.keys() == {b"stays"})


@run_async
async def test_after_a_restart_what_has_expired_meanwhile_goes() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"k", b"v", "", ttl_ms=TTL_MS), Put(b"later", b"v", "", ttl_ms=2 * TTL_MS))
        await bucket.crash()
        clock.advance(TTL_MS)
        await bucket.start()
        await until(lambda: bucket.records.keys() == {b"later"})


@run_async
async def test_what_is_due_sooner_than_what_was_waited_for_goes_in_time() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"later", b"v", "", ttl_ms=HOUR_MS))
        await asyncio.sleep(0.05)
        await client.ask(Put(b"soon", b"v", "", ttl_ms=TTL_MS))
        clock.advance(TTL_MS)
        await until(lambda: bucket.records.keys() == {b"later"}, 3)


@run_async
async def test_a_clock_that_steps_back_lets_nothing_go_too_soon() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        clock.advance(-HOUR_MS)
        await client.ask(Put(b"k", b"v", "", ttl_ms=TTL_MS))
        clock.advance(-HOUR_MS)
        await asyncio.sleep(0.2)
        assert isinstance((await client.ask(Get(b"k")))[0], Value)
        clock.advance(HOUR_MS + TTL_MS)
        await until(lambda: bucket.records == {}, 3)


# -- damage ------------------------------------------------------------------------------------------------------------


def test_an_index_that_could_not_be_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "_AGAIN_S", 0.05)

    @run_async
    async def check() -> None:
        clock = Clock()
        async with serving(platform=clock.platform()) as bucket:
            client = await greeted(bucket)
            await client.ask(Put(b"k", b"v", "", ttl_ms=TTL_MS))
            bucket.engine.damaged_facts = {name for name, _ in bucket.engine.scan_facts(*due.bounds(0, 1 << 62))}
            clock.advance(TTL_MS)
            await until(lambda: "damaged" in bucket.server.bucket.last_error)  # type: ignore[union-attr]
            bucket.engine.damaged_facts = set()
            await until(lambda: bucket.records == {})

    check()


def test_a_record_that_can_not_be_read_keeps_no_other_from_going(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "_AGAIN_S", 0.05)

    @run_async
    async def check() -> None:
        clock = Clock()
        async with serving(platform=clock.platform()) as bucket:
            keys = [b"a", b"bad", b"c"]
            client = await greeted(bucket)
            await client.ask(*(Put(key, b"v", "", ttl_ms=TTL_MS + number) for number, key in enumerate(keys)))
            bucket.engine.damaged = {b"bad"}
            clock.advance(HOUR_MS)
            await until(lambda: len(dues(bucket)) == 1)
            assert [each.name for each in dues(bucket)] == [b"bad"]
            assert "bad" in bucket.server.bucket.last_error  # type: ignore[union-attr]
            (refused,) = await client.ask(Get(b"bad"))
            assert isinstance(refused, Refused)
            assert refused.reason == "fault"
            bucket.engine.damaged = set()
            await until(lambda: bucket.records == {})

    check()
