"""What a bucket tells of its changes: those after a place, from memory, from the disk, or as they come."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serve_app.bucket import feed_tail
from serve_app.changes import DELETE, EXPIRE, PUT, TAKEN, Change
from serve_app.operations import Delete, Get, Increment, Put, Touch
from serve_app.records import Record, encode
from serve_app.settings import Limits
from serve_app.storage.extent import Extent, extent_fact
from serve_app.storage.feed import name_of
from serve_app.topology import MAX_REVISION, Topology
from serve_app.wire.messages import Batch, Changed, Changes, Envelope, Install, Refused, Window
from tests.support.clock import HOUR_MS, Clock
from tests.support.local_store import TEST_LIMITS, LocalBucket, run_async, until
from tests.support.raw_client import RawClient, greeted, serving


async def changed(client: RawClient, after: int, wait_ms: int = 0) -> Changed:
    (answer,) = await client.ask(Changes(after, wait_ms))
    assert isinstance(answer, Changed), answer
    return answer


async def in_parts(client: RawClient, upto: int) -> list[Changed]:
    """All changes up to that revision, each part asked for from where the one before said that it ends."""
    parts: list[Changed] = []
    while not parts or parts[-1].upto < upto:
        part = await changed(client, parts[-1].upto if parts else 0)
        assert part.changes
        assert part.upto == part.changes[-1].revision
        parts.append(part)
    return parts


def identity_of(bucket: LocalBucket) -> str:
    assert bucket.server is not None
    return bucket.server.bucket.identity


async def restarted(bucket: LocalBucket) -> RawClient:
    await bucket.crash()
    await bucket.start()
    return await greeted(bucket)


@pytest.mark.parametrize("on_disk", [False, True], ids=["from memory", "from the disk"])
@run_async
async def test_each_change_is_told_once_in_order_from_any_place(on_disk: bool) -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        await client.ask(
            Put(b"a", b"1", "", ttl_ms=HOUR_MS),
            Batch([Put(b"b", b"1", ""), Increment(b"b"), Get(b"b"), Delete(b"none", with_value=False)]),
            Touch(b"b"),
            Delete(b"b"),
            Delete(b"b"),
        )
        clock.advance(HOUR_MS)
        await until(lambda: bucket.records == {})
        expected = [
            Change(PUT, b"a", 1),
            Change(PUT, b"b", 2),
            Change(PUT, b"b", 3),
            Change(PUT, b"b", 4),
            Change(DELETE, b"b", 5),
            Change(EXPIRE, b"a", 6),
        ]
        if on_disk:
            client = await restarted(bucket)
        for after in range(8):
            answer = await changed(client, after)
            assert answer.changes == expected[after:]
            assert (answer.since, answer.upto, answer.identity) == (0, 6, identity_of(bucket))


@run_async
async def test_what_is_not_durable_yet_is_not_told() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        bucket.engine.fail_next_write = True
        client.send(Envelope(1, 1000, 0, Put(b"k", b"v", "")))
        await until(lambda: len(bucket.failures) == 1)
        answer = await changed(await greeted(bucket), 0)
        assert (answer.changes, answer.upto) == ([], 0)


@run_async
async def test_who_waits_is_told_as_soon_as_there_are_some() -> None:
    async with serving() as bucket:
        writer, watch = await greeted(bucket), await greeted(bucket)
        await writer.ask(Put(b"before", b"v", ""))
        waiting = asyncio.create_task(changed(watch, 1, 20_000))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await writer.ask(Delete(b"none"))
        await asyncio.sleep(0.05)
        assert not waiting.done(), "that was none"
        await writer.ask(Put(b"k", b"v", ""))
        answer = await asyncio.wait_for(waiting, 5)
        assert (answer.changes, answer.upto) == ([Change(PUT, b"k", 2)], 2)
        assert (await changed(watch, 0, 20_000)).upto == 2, "there are some already"


@run_async
async def test_who_waits_is_told_before_the_writer_is_answered_or_at_once_after() -> None:
    """One that is told of its own write's end can ask for what came of it."""
    async with serving() as bucket:
        writer, watch = await greeted(bucket), await greeted(bucket)
        for revision in range(1, 30):
            waiting = asyncio.create_task(changed(watch, revision - 1, 20_000))
            await writer.ask(Put(b"k", b"v", ""))
            assert (await changed(writer, revision - 1)).changes == [Change(PUT, b"k", revision)]
            assert (await waiting).changes == [Change(PUT, b"k", revision)]


@run_async
async def test_who_has_waited_long_enough_is_told_that_there_are_none() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"k", b"v", ""))
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        answer = await changed(client, 1, 100)
        assert (answer.changes, answer.since, answer.upto) == ([], 0, 1)
        assert 0.09 <= loop.time() - started_s < 5
        assert bucket.server is not None
        assert not bucket.server.feed._waiting


@run_async
async def test_who_is_gone_is_not_waited_for_and_harms_nobody() -> None:
    async with serving() as bucket:
        client, other = await greeted(bucket), await greeted(bucket)
        client.send(Envelope(1, 20_000, 0, Changes(0, 20_000)))
        await until(lambda: len(bucket.server.feed._waiting) == 1)  # type: ignore[union-attr]
        client.writer.transport.abort()
        await until(lambda: len(bucket.server._connections) == 1)  # type: ignore[union-attr]
        await other.ask(Put(b"k", b"v", ""))
        assert (await changed(other, 0)).changes == [Change(PUT, b"k", 1)]
        assert not bucket.server.feed._waiting  # type: ignore[union-attr]


@run_async
async def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_tail, "_MAX_WAITING", 2)
    async with serving() as bucket:
        client = await greeted(bucket)
        client.send(*(Envelope(call, 20_000, 0, Changes(0, 20_000)) for call in range(3)))
        refused = await client.receive_reply()
        assert (refused.call, refused.answer.reason) == (2, "busy")
        await (await greeted(bucket)).ask(Put(b"k", b"v", ""))
        assert {(await client.receive_reply()).call for _ in range(2)} == {0, 1}


@pytest.mark.parametrize("on_disk", [False, True], ids=["from memory", "from the disk"])
@run_async
async def test_many_are_told_in_parts(on_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part may end within a commit, and the next one goes on there."""
    monkeypatch.setattr(feed_tail, "MAX_CHANGES", 7)
    async with serving() as bucket:
        client = await greeted(bucket)
        for size in (3, 20, 1, 1, 30):
            await client.ask(Batch([Put(b"k%d" % number, b"v", "") for number in range(size)]))
        if on_disk:
            client = await restarted(bucket)
        parts = await in_parts(client, 55)
        assert [change.revision for part in parts for change in part.changes] == list(range(1, 56))


@run_async
async def test_what_memory_has_no_more_the_disk_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_tail, "_IN_MEMORY", 5)
    async with serving() as bucket:
        client = await greeted(bucket)
        for number in range(20):
            await client.ask(Put(b"k%d" % number, b"v", ""))
        assert bucket.server is not None
        assert len(bucket.server.feed._recent) == 5
        for after in range(21):
            answer = await changed(client, after)
            assert [change.revision for change in answer.changes] == list(range(after + 1, 21))
            assert answer.upto == 20


@pytest.mark.parametrize("on_disk", [False, True], ids=["from memory", "from the disk"])
@run_async
async def test_who_asks_for_what_is_kept_no_more_is_told_since_when(on_disk: bool) -> None:
    limits = Limits(**{**TEST_LIMITS.model_dump(), "watch_history": 10})
    async with serving(limits) as bucket:
        client = await greeted(bucket)
        for number in range(40):
            await client.ask(Put(b"k%d" % number, b"v", ""))
        if on_disk:
            client = await restarted(bucket)
        since = (await changed(client, 40)).since
        assert 10 <= 40 - since <= 13
        for after in range(since, 41):
            answer = await changed(client, after)
            assert answer.since == since
            assert [change.revision for change in answer.changes] == list(range(after + 1, 41))
        for after in range(since):
            assert (await changed(client, after)).since == since > after


@run_async
async def test_a_window_that_was_taken_in_is_a_change_and_what_is_in_it_none() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        await client.ask(Install(Topology(2, 2, 1, "store", (identity_of(bucket), "other"), move_epoch=2)))
        raw = encode(Record(b"v", "", 5, 1, 1))
        window = Window(1, b"k9", 70, [(b"k4", raw), (b"k5", raw)])
        await client.ask(window, epoch=2)
        await client.ask(window, epoch=2)
        (told,) = (await changed(client, 0)).changes
        assert (told.kind, told.revision, told.source, told.reached) == (TAKEN, 71, 1, 70), "once"


@run_async
async def test_a_window_without_records_is_told_as_well() -> None:
    """What its source told of those keys, of a delete perhaps, comes before all that is told of them here."""
    async with serving() as bucket:
        client = await greeted(bucket)
        await client.ask(Install(Topology(2, 2, 1, "store", (identity_of(bucket), "other"), move_epoch=2)))
        await client.ask(Window(1, b"k9", 70, []), epoch=2)
        (told,) = (await changed(client, 0)).changes
        assert (told.kind, told.source, told.reached) == (TAKEN, 1, 70)


@pytest.mark.parametrize("after", [-1, MAX_REVISION + 1])
@run_async
async def test_a_place_that_can_not_be_is_refused(after: int) -> None:
    async with serving() as bucket:
        (refused,) = await (await greeted(bucket)).ask(Changes(after, 0))
        assert isinstance(refused, Refused)
        assert refused.reason == "invalid"


@run_async
async def test_damage_is_told_and_keeps_nothing_else_from_being_served() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        for number in range(5):
            await client.ask(Put(b"k%d" % number, b"v", ""))
        bucket.engine.damaged_facts = {name_of(3)}
        # A crash leaves the damage where it is.
        damaged, engine = bucket.engine.damaged_facts, bucket.engine.crash
        bucket.engine.crash = lambda: _with_damage(engine(), damaged)  # type: ignore[method-assign]
        client = await restarted(bucket)
        (refused,) = await client.ask(Changes(0, 0))
        assert isinstance(refused, Refused)
        assert refused.reason == "fault"
        assert "damaged" in bucket.server.bucket.last_error  # type: ignore[union-attr]
        await client.ask(Put(b"new", b"v", ""))
        assert [change.revision for change in (await changed(client, 3)).changes] == [4, 5, 6]


def _with_damage(engine: Any, damaged: set[bytes]) -> Any:
    engine.damaged_facts = damaged
    return engine


@run_async
async def test_what_is_read_from_the_disk_and_grows_meanwhile_has_no_gap() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        for number in range(5):
            await client.ask(Put(b"k%d" % number, b"v", ""))
        client = await restarted(bucket)
        writer = await greeted(bucket)
        stop = False

        async def write() -> int:
            number = 0
            while not stop:
                await writer.ask(Put(b"n", b"v", ""))
                number += 1
            return number

        writing = asyncio.create_task(write())
        after, seen = 0, []
        for _ in range(60):
            answer = await changed(client, after)
            seen += [change.revision for change in answer.changes]
            after = answer.upto
            if after % 3 == 0:
                after, seen = 2, [1, 2]  # again from the disk
        stop = True
        await writing
        assert seen == list(range(1, len(seen) + 1))
        assert after == len(seen)


@run_async
async def test_a_part_that_ends_by_its_bytes_says_where_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_tail, "_MAX_BYTES", 10)
    async with serving() as bucket:
        client = await greeted(bucket)
        for number in range(20):
            await client.ask(Put(b"key-%02d" % number, b"v", ""))
        client = await restarted(bucket)
        parts = await in_parts(client, 20)
        assert [change.revision for part in parts for change in part.changes] == list(range(1, 21))
        assert len(parts) > 5


@run_async
async def test_what_goes_while_it_is_read_is_told_as_gone() -> None:
    """The writer deletes the oldest changes between two looks of the thread that reads them."""
    async with serving() as bucket:
        client = await greeted(bucket)
        for number in range(10):
            await client.ask(Put(b"k%d" % number, b"v", ""))
        client = await restarted(bucket)
        assert bucket.server is not None
        engine: Any = bucket.server.bucket.engine
        scan = engine.scan_facts

        def trimmed(start: bytes, end: bytes) -> Any:
            if start == name_of(1):
                gone = [(name, None) for name, _ in scan(name_of(0), name_of(6))]
                engine.write([], [*gone, extent_fact(Extent(since=5))])
            return scan(start, end)

        engine.scan_facts = trimmed
        answer = bucket.server.feed.read(Changes(0, 0), 10)
        assert isinstance(answer, Changed)
        assert [change.revision for change in answer.changes] == [6, 7, 8, 9, 10]
        assert answer.since == 5
