"""Records that expire while keys move: nothing is deleted from a window that is under way, and nothing comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serve_app import outcomes
from serve_app.bucket.mover_access import MoverAccess, _first
from serve_app.cursor import END, Cursor
from serve_app.operations import Get, Head, Missing, Put, Value, Written
from serve_app.operations.body import Body
from serve_app.placement import bucket_of
from serve_app.records import Record, encode
from serve_app.storage import due
from serve_app.topology import Topology
from serve_app.wire.messages import Batch, BatchAnswered, Envelope, Install, List, Moved, Refused, Window, WindowWritten
from tests.support.clock import HOUR_MS, Clock
from tests.support.local_store import LocalBucket, local_store, run_async, until
from tests.support.quick_moves import move_quickly, settled
from tests.support.raw_client import RawClient, greeted, serving

TTL_MS = 60_000
#: The first leaves bucket 0, in a window of its own; the other is behind it.
KEY = next(key for key in (b"k%d" % number for number in range(100)) if bucket_of(key, 2) == 1)
STAYS = next(key for key in (b"z%d" % number for number in range(100)) if bucket_of(key, 2) == 0)


def dues(bucket: LocalBucket) -> list[bytes]:
    return [due.parse(name).name for name, _ in bucket.engine.scan_facts(*due.bounds(0, 1 << 62))]


async def with_a_window_open(bucket: LocalBucket, clock: Clock) -> tuple[RawClient, MoverAccess, Cursor]:
    """A window of `KEY`, which expires in it, as does `STAYS` behind it."""
    client = await greeted(bucket)
    assert bucket.server is not None
    await client.ask(Put(KEY, b"v", "", ttl_ms=TTL_MS), Put(STAYS, b"v", "", ttl_ms=TTL_MS))
    identity = bucket.server.bucket.identity
    await client.ask(Install(Topology(2, 1, 2, "store", (identity, "other"), move_epoch=2)))
    access = bucket.server.mover_access
    assert access.cursor is not None
    cursor, _ = await access.intend(access.cursor, KEY + b"\0")
    clock.advance(TTL_MS)
    return client, access, cursor


READS: list[Body[Any]] = [Get(KEY), Head(KEY), Batch([Get(STAYS), Get(KEY)])]


@pytest.mark.parametrize("cold", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize("body", READS, ids=["get", "head", "batch"])
@run_async
async def test_a_read_of_one_in_the_window_waits_for_its_new_home(body: Body[Any], cold: bool) -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client, access, cursor = await with_a_window_open(bucket, clock)
        bucket.engine.cold = {KEY, STAYS} if cold else set()
        gets, get = [0], bucket.engine.get

        def counted(key: bytes) -> bytes | None:
            gets[0] += 1
            return get(key)

        bucket.engine.get = counted  # type: ignore[method-assign]
        client.send(Envelope(7, 20_000, 0, body))
        reply = asyncio.create_task(client.receive_reply())
        await until(lambda: len(bucket.server.held) == 1)  # type: ignore[union-attr]
        await asyncio.sleep(0.1)
        assert not reply.done()
        assert gets[0] < 10, "nor does it read again and again"
        assert KEY in bucket.records
        raw = bucket.records[KEY]
        await access.advance(cursor, [(KEY, raw)], [])
        answer = (await reply).answer
        moved = Moved(access.topology, KEY + b"\0")
        assert answer == (BatchAnswered([Missing(), moved]) if isinstance(body, Batch) else moved)
        assert bucket.records.keys() <= {STAYS}


@run_async
async def test_nothing_is_deleted_from_the_window_and_all_that_is_behind_it() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client, access, cursor = await with_a_window_open(bucket, clock)
        await until(lambda: bucket.records.keys() == {KEY})
        await asyncio.sleep(0.1)
        assert bucket.records.keys() == {KEY}
        (refused,) = await client.ask(List(b"", b"", b"", 10, False, False), epoch=2)
        assert isinstance(refused, Refused), "it is not gone yet, so it can't be left out"
        assert refused.reason == "busy"
        assert dues(bucket) == [KEY]
        await access.advance(cursor, [(KEY, bucket.records[KEY])], [])
        assert bucket.records == {}
        assert dues(bucket) == []
        assert bucket.server.bucket.totals.keys == 0  # type: ignore[union-attr]


@run_async
async def test_a_window_that_is_given_up_for_now_holds_no_read_for_ever() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client, _, _ = await with_a_window_open(bucket, clock)
        client.send(Envelope(7, 400, 0, Get(KEY)))
        answer = (await asyncio.wait_for(client.receive_reply(), 5)).answer
        assert isinstance(answer, Refused)
        assert answer.reason == "busy"


@run_async
async def test_what_has_expired_on_its_way_is_deleted_where_it_comes_to() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        identity = bucket.server.bucket.identity  # type: ignore[union-attr]
        await client.ask(Install(Topology(2, 2, 1, "store", (identity, "other"), move_epoch=2)))
        raw = encode(Record(b"v", "", 5, 1, 1, clock.now_ms - 1))
        later = encode(Record(b"v", "", 6, 1, 1, clock.now_ms + TTL_MS))
        window = Window(1, b"k9", 70, [(KEY, raw), (KEY + b"x", later)])
        assert await client.ask(window, epoch=2) == [WindowWritten()]
        assert await client.ask(Get(KEY), epoch=2) == [Missing()]
        clock.advance(-HOUR_MS)
        assert await client.ask(window, epoch=2) == [WindowWritten()], "again, and late"
        assert await client.ask(Get(KEY), epoch=2) == [Missing()]
        assert bucket.records.keys() == {KEY + b"x"}
        assert dues(bucket) == [KEY + b"x"]
        clock.advance(HOUR_MS + TTL_MS)
        await until(lambda: bucket.records == {})


@run_async
async def test_in_a_store_whose_keys_move_to_and_fro_each_goes_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was once missing stays so, though the clock steps back in between."""
    move_quickly(monkeypatch)
    clock = Clock()
    keys = [b"key-%03d" % number for number in range(120)]
    async with local_store(3, platform=clock.platform()) as store:
        directory = await store.directory(1)
        for number, key in enumerate(keys):
            # A third stays, a third goes in the first move, a third in the second.
            written = (await directory.carry_out(Put(key, b"v", "", ttl_ms=TTL_MS * (number % 3)))).answer
            assert isinstance(written, Written)
        gone: set[bytes] = set()
        for turn, count in enumerate((3, 2, 1), 1):
            directory.configuration.follow(count)
            clock.advance(TTL_MS)
            while not settled(directory, count):
                for key in keys[::7]:
                    answer = (await directory.carry_out(Get(key))).answer
                    assert isinstance(answer, Value if keys.index(key) % 3 == 0 else Value | Missing)
                    assert isinstance(answer, Missing) or key not in gone
                    gone |= {key} if isinstance(answer, Missing) else set()
            for number, key in enumerate(keys):
                answer = (await directory.carry_out(Get(key))).answer
                there = not 0 < number % 3 <= turn
                assert isinstance(answer, Value if there else Missing), (key, turn)
            clock.advance(-TTL_MS // 2)
            for number, key in enumerate(keys):
                if 0 < number % 3 <= turn:
                    assert isinstance((await directory.carry_out(Get(key))).answer, Missing)
            clock.advance(TTL_MS // 2)
        await until(lambda: sum(len(bucket.records) for bucket in store.buckets) == 40)
        assert [dues(bucket) for bucket in store.buckets] == [[], [], []]
        assert [bucket.server.bucket.totals.keys for bucket in store.buckets] == [40, 0, 0]  # type: ignore[union-attr]


@run_async
async def test_what_expires_while_the_mover_reads_is_read_again() -> None:
    """It would travel, and be deleted, and counted off, a second time."""
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        assert bucket.server is not None
        await client.ask(Put(KEY, b"v", "", ttl_ms=TTL_MS))
        identity = bucket.server.bucket.identity
        await client.ask(Install(Topology(2, 1, 2, "store", (identity, "other"), move_epoch=2)))
        access = bucket.server.mover_access
        assert access.topology is not None
        assert access.cursor is not None
        await access.note_writes_from(b"")
        scanned = await access.scan(access.topology, b"", END, 1 << 20)
        assert [key for key, _ in scanned.records] == [KEY]
        clock.advance(TTL_MS)
        await until(lambda: KEY not in bucket.records)
        _, something_was_written = await access.intend(access.cursor, KEY + b"\0")
        assert something_was_written


def test_a_window_ends_between_keys_and_not_between_the_outcomes_of_one() -> None:
    names = [outcomes.name_of(key, b"request-%d" % number) for key in (b"a", b"b") for number in range(3)]
    found = iter([(name, b"x" * 100) for name in names])
    chosen, stopped = _first(found, END, 150, outcomes.key_in, lambda key: True)
    assert [name for name, _ in chosen] == names[:3]
    assert stopped == b"b"
