"""The directory against real bucket servers: routing, broken connections, buckets away, full queues."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from serve_app import placement
from serve_app.directory.routed import MAX_REROUTES
from serve_app.errors import DiskFull, OutcomeUnknown, Unavailable
from serve_app.operations import Body, Get, Operation, Put, Written
from serve_app.settings import Limits
from serve_app.wire import connection as connection_module
from serve_app.wire.messages import Moved
from tests.support.asking import delete, get, keys_of, put
from tests.support.local_store import TEST_LIMITS, local_store, run_async, until


@run_async
async def test_operations_go_to_the_keys_home() -> None:
    async with local_store(3) as store:
        directory = await store.directory()
        for number in range(60):
            key = b"key%d" % number
            written, bucket_id, digest = await directory.carry_out(Put(key, b"v%d" % number, "text/plain"))
            assert isinstance(written, Written)
            assert (written.created, bucket_id, digest) == (True, *placement.place(key, 3))
            assert key in store.buckets[bucket_id].records
        assert sum(len(bucket.records) for bucket in store.buckets) == 60
        assert await get(directory, b"key7") == b"v7"
        assert not await put(directory, b"key7", b"new", "text/plain")
        assert await delete(directory, b"key7") == b"new"
        assert await delete(directory, b"key7") is None
        assert await get(directory, b"key7") is None


@run_async
async def test_a_read_survives_a_broken_connection() -> None:
    async with local_store() as store:
        directory = await store.directory()
        key = keys_of(0)[0]
        await put(directory, key, b"v", "")
        bucket = store.buckets[0]
        before = bucket.wire.accepted
        bucket.wire.hold()
        read = asyncio.create_task(get(directory, key))
        await until(lambda: directory.view.link(0).calls_open > 0)
        bucket.wire.cut()
        bucket.wire.release()
        assert await read == b"v"
        assert bucket.wire.accepted > before


@run_async
async def test_a_write_that_was_sent_on_a_connection_that_broke_is_of_unknown_outcome() -> None:
    async with local_store() as store:
        directory = await store.directory()
        key = keys_of(0)[0]
        bucket = store.buckets[0]
        bucket.wire.mute_replies = True
        writes = [
            asyncio.create_task(put(directory, key, b"v", "")),
            asyncio.create_task(delete(directory, key)),
        ]
        await until(lambda: key in bucket.records or bucket.engine.writes > 2)
        bucket.wire.cut()
        bucket.wire.mute_replies = False
        for write in writes:
            with pytest.raises(OutcomeUnknown, match="may have happened"):
                await write


@run_async
async def test_a_write_that_was_not_sent_waits_and_is_made() -> None:
    async with local_store() as store:
        directory = await store.directory()
        key = keys_of(1)[0]
        bucket = store.buckets[1]
        await bucket.crash()
        await until(lambda: not directory.view.link(1).connected)
        written = asyncio.create_task(put(directory, key, b"v", ""))
        await until(lambda: directory.view.link(1).calls_waiting == 1)
        await bucket.start()
        assert await written
        assert key in bucket.records


@run_async
async def test_a_bucket_that_is_away_leaves_the_others_alone() -> None:
    async with local_store(limits=Limits(request_timeout_s=0.3)) as store:
        directory = await store.directory()
        await store.buckets[1].crash()
        away = asyncio.create_task(put(directory, keys_of(1)[0], b"v", ""))
        for key in keys_of(0)[:20]:
            await put(directory, key, b"v", "")
        with pytest.raises(Unavailable, match="bucket-1 is away"):
            await away
        with pytest.raises(Unavailable, match="bucket-1 is away"):
            await get(directory, keys_of(1)[0])


@run_async
async def test_a_bucket_with_a_fault_is_refused_at_once_with_its_reason() -> None:
    async with local_store(limits=Limits(request_timeout_s=60)) as store:
        directory = await store.directory()
        bucket = store.buckets[1]
        bucket.fault = "000012.sst is damaged"
        await bucket.stop_server()
        await until(lambda: directory.view.link(1).faulted)
        for _ in range(Limits().max_waiting_per_bucket + 1):  # whoever is refused waits no more
            with pytest.raises(Unavailable, match=r"bucket-1 can't serve: 000012\.sst is damaged"):
                await get(directory, keys_of(1)[0])
        bucket.fault = ""
        await bucket.start()
        await until(lambda: directory.view.link(1).connected)
        assert await get(directory, keys_of(1)[0]) is None


@run_async
async def test_who_waits_for_a_bucket_hears_of_its_fault_at_once() -> None:
    async with local_store(limits=Limits(request_timeout_s=60)) as store:
        directory = await store.directory()
        await store.buckets[1].crash()
        waiting = asyncio.create_task(get(directory, keys_of(1)[0]))
        await until(lambda: directory.view.link(1).calls_waiting == 1)
        store.buckets[1].fault = "000012.sst is damaged"
        done, _ = await asyncio.wait([waiting], timeout=10)
        assert done, "it would wait until its deadline"
        with pytest.raises(Unavailable, match=r"bucket-1 can't serve: 000012\.sst is damaged"):
            waiting.result()


@run_async
async def test_a_client_that_gives_up_leaves_the_connection_to_the_others() -> None:
    async with local_store() as store:
        directory = await store.directory()
        wire = store.buckets[0].wire
        accepted = wire.accepted
        wire.hold()
        key = keys_of(0)[0]
        gone = [asyncio.create_task(put(directory, key, b"v", "")) for _ in range(5)]
        stays = asyncio.create_task(get(directory, key))
        await until(lambda: directory.view.link(0).calls_open >= 6)
        for task in gone:
            task.cancel()
        wire.release()
        await stays
        assert all(
            isinstance(error, asyncio.CancelledError) for error in await asyncio.gather(*gone, return_exceptions=True)
        )
        await until(lambda: directory.view.link(0).calls_open == 0)
        assert await get(directory, key) == b"v", "the puts had been sent, and happened"
        assert wire.accepted == accepted, "the connection was not broken"


@run_async
async def test_a_bucket_that_does_not_answer_costs_the_deadline_and_no_more() -> None:
    async with local_store(limits=Limits(request_timeout_s=0.2)) as store:
        directory = await store.directory()
        store.buckets[0].wire.hold()
        key = keys_of(0)[0]
        with pytest.raises(Unavailable, match="did not answer in time"):
            await get(directory, key)
        with pytest.raises(OutcomeUnknown, match="did not answer the put in time"):
            await put(directory, key, b"v", "")
        assert directory.view.link(0).calls_open <= 1, "expired calls are forgotten (a heartbeat may be open)"


@run_async
async def test_the_bucket_drops_what_expired_on_the_way() -> None:
    async with local_store(limits=Limits(request_timeout_s=0.2)) as store:
        directory = await store.directory()
        bucket = store.buckets[0]
        key = keys_of(0)[0]
        bucket.server.bucket.clock = lambda: asyncio.get_running_loop().time() - 1000  # type: ignore[union-attr]
        with pytest.raises(Unavailable, match="deadline passed before"):
            await put(directory, key, b"v", "")
        assert key not in bucket.records


@run_async
async def test_a_full_disk_is_a_507_for_puts_alone() -> None:
    async with local_store(limits=TEST_LIMITS.model_copy(update={"disk_reserve_bytes": 1000})) as store:
        directory = await store.directory()
        key = keys_of(0)[0]
        await put(directory, key, b"v", "")
        store.buckets[0].engine.free = 10
        with pytest.raises(DiskFull, match="bucket-0"):
            await put(directory, key, b"w", "")
        assert await get(directory, key) == b"v"
        assert await delete(directory, key) == b"v"
        await put(directory, keys_of(1)[0], b"v", "")


@run_async
async def test_a_damaged_record_is_unavailable_never_missing() -> None:
    async with local_store() as store:
        directory = await store.directory()
        key, other = keys_of(0)[:2]
        await put(directory, key, b"v", "")
        store.buckets[0].engine.damaged.add(key)
        for operation in (get(directory, key), put(directory, key, b"w", ""), delete(directory, key)):
            with pytest.raises(Unavailable, match="damaged"):
                await operation
        await put(directory, other, b"v", "")
        await directory.polling._inspect_all()
        assert "damaged" in directory.view.statuses[0].last_error


@run_async
async def test_a_read_that_waits_for_the_disk_holds_up_nobody() -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        for number in range(100):
            await put(directory, b"cold%d" % number, b"%d" % number, "")
        engine = store.buckets[0].engine
        engine.cold = set(store.buckets[0].records)
        let_go = threading.Event()
        read = engine.get

        def held(key: bytes) -> bytes | None:
            assert key != b"cold7" or let_go.wait(10)
            return read(key)

        engine.get = held  # type: ignore[method-assign]
        stuck = asyncio.create_task(get(directory, b"cold7"))
        await until(lambda: directory.view.link(0).calls_open > 0)
        others = await asyncio.gather(*(get(directory, b"cold%d" % number) for number in range(20, 100)))
        assert others == [b"%d" % number for number in range(20, 100)]
        await put(directory, b"new", b"v", "")
        assert await get(directory, b"new") == b"v"
        assert not stuck.done()
        let_go.set()
        assert await stuck == b"7"


@run_async
async def test_a_write_that_never_left_the_process_is_made_on_the_next_connection() -> None:
    async with local_store() as store:
        directory = await store.directory()
        key = keys_of(0)[0]
        connection = directory.view.link(0).connection()
        assert connection is not None
        written = asyncio.create_task(put(directory, key, b"v", ""))
        await asyncio.sleep(0)  # sent, but the turn of the loop in which it leaves has not ended
        connection.close()
        assert await written
        assert key in store.buckets[0].records


@pytest.mark.parametrize("operation", [Get(keys_of(0)[0]), Put(keys_of(0)[0], b"v", "")])
def test_a_bucket_that_never_takes_the_key_is_asked_so_many_times(
    operation: Operation[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    @run_async
    async def check() -> None:
        async with local_store() as store:
            directory = await store.directory()
            call, asked = connection_module.ClientConnection.call, 0

            def disagreeing(self: Any, body: Body[Any], deadline_s: float, epoch: int = 0) -> asyncio.Future[Any]:
                nonlocal asked
                asked += isinstance(body, Operation)
                if not isinstance(body, Operation) or asked > MAX_REROUTES + 1:
                    return call(self, body, deadline_s, epoch)
                loop = asyncio.get_running_loop()
                moved: asyncio.Future[Any] = loop.create_future()
                loop.call_soon(moved.set_result, Moved(directory.view.topology))
                return moved

            monkeypatch.setattr(connection_module.ClientConnection, "call", disagreeing)
            with pytest.raises(Unavailable, match="disagree"):
                await directory.carry_out(operation)
            assert asked == MAX_REROUTES + 1

    check()


@run_async
async def test_a_record_larger_than_a_limit_lowered_later_is_still_read_and_deleted() -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        await put(directory, b"big", b"x" * 200_000, "")
        careful = await store.directory(limits=Limits(max_value_bytes=1000))
        assert len(await get(careful, b"big") or b"") == 200_000
        assert len(await delete(careful, b"big") or b"") == 200_000
        assert store.buckets[0].wire.accepted == 2, "no connection was broken"


@run_async
async def test_all_tries_of_an_operation_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_store() as store:
        directory = await store.directory()
        call, deadlines = connection_module.ClientConnection.call, []

        def breaking(self: Any, body: Body[Any], deadline_s: float, epoch: int = 0) -> asyncio.Future[Any]:
            if not isinstance(body, Get):
                return call(self, body, deadline_s, epoch)
            deadlines.append(deadline_s)
            if len(deadlines) > 3:
                return call(self, body, deadline_s, epoch)
            loop = asyncio.get_running_loop()
            broken: asyncio.Future[Any] = loop.create_future()
            loop.call_later(0.01, broken.set_exception, connection_module.NotSent("it broke"))  # the clock goes on
            return broken

        monkeypatch.setattr(connection_module.ClientConnection, "call", breaking)
        assert await get(directory, keys_of(0)[0]) is None
        assert len(deadlines) == 4
        assert len(set(deadlines)) == 1


@run_async
async def test_large_values_both_ways() -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        value = bytes(range(256)) * 4 * 1024 * 10
        await asyncio.gather(*(put(directory, b"big%d" % number, value, "") for number in range(6)))
        got = await asyncio.gather(*(get(directory, b"big%d" % number) for number in range(6)))
        assert got == [value] * 6
