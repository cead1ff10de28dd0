"""The directory against real bucket servers: routing, broken connections, buckets away, full queues."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any
from unittest.mock import patch

import pytest

from serve_app import placement
from serve_app.directory import polling
from serve_app.directory.directory import MAX_REROUTES
from serve_app.errors import DiskFull, OutcomeUnknown, Unavailable
from serve_app.operations import Body, Get, Operation, Put
from serve_app.settings import Limits
from serve_app.wire import connection as connection_module
from serve_app.wire import versions
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.messages import Hello, Moved
from tests.support.asking import delete, get, put
from tests.support.local_store import TEST_LIMITS, local_store, run_async, until


def keys_of(bucket_id: int, bucket_count: int = 2) -> list[bytes]:
    """Some keys whose home is that bucket."""
    keys = [b"key%d" % number for number in range(200)]
    return [key for key in keys if placement.bucket_of(key, bucket_count) == bucket_id]


@run_async
async def test_operations_go_to_the_keys_home() -> None:
    async with local_store(3) as store:
        directory = await store.directory()
        for number in range(60):
            key = b"key%d" % number
            written, bucket_id, digest = await directory.carry_out(Put(key, b"v%d" % number, "text/plain"))
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
async def test_only_so_many_wait_for_a_bucket_that_is_away() -> None:
    async with local_store(limits=Limits(max_waiting_per_bucket=3)) as store:
        directory = await store.directory()
        await store.buckets[1].crash()
        await until(lambda: not directory.view.link(1).connected)
        key = keys_of(1)[0]
        waiting = [asyncio.create_task(get(directory, key)) for _ in range(3)]
        await until(lambda: directory.view.link(1).calls_waiting == 3)
        with pytest.raises(Unavailable, match="many operations wait"):
            await get(directory, key)
        await store.buckets[1].start()
        assert await asyncio.gather(*waiting) == [None] * 3


@run_async
async def test_only_so_many_calls_are_open_at_a_bucket() -> None:
    async with local_store(limits=Limits(max_calls_per_bucket=4)) as store:
        directory = await store.directory()
        store.buckets[0].wire.hold()
        key = keys_of(0)[0]
        under_way = [asyncio.create_task(get(directory, key)) for _ in range(4)]
        await until(lambda: directory.view.link(0).calls_open >= 4)
        with pytest.raises(Unavailable, match="too many operations"):
            await get(directory, key)
        store.buckets[0].wire.release()
        await asyncio.gather(*under_way)
        assert await get(directory, key) is None


@run_async
async def test_only_so_many_bytes_are_under_way_to_a_bucket() -> None:
    async with local_store(limits=Limits(max_call_bytes_per_bucket=1000)) as store:
        directory = await store.directory()
        store.buckets[0].wire.hold()
        key = keys_of(0)[0]
        first = asyncio.create_task(put(directory, key, b"x" * 5000, ""))  # one is always taken
        await until(lambda: directory.view.link(0).calls_open > 0)
        with pytest.raises(Unavailable, match="too many operations"):
            await put(directory, key, b"x", "")
        store.buckets[0].wire.release()
        await first


@run_async
async def test_calls_that_expired_give_back_their_bytes() -> None:
    async with local_store(limits=Limits(max_call_bytes_per_bucket=1000)) as store:
        directory = await store.directory()
        store.buckets[0].wire.hold()
        connection = directory.view.link(0).connection()
        assert connection is not None
        key, now_s = keys_of(0)[0], asyncio.get_running_loop().time()
        with pytest.raises(connection_module.CallExpired):
            await connection.call(Put(key, b"x" * 900, ""), now_s + 0.05)
        waiting = [connection.call(Put(key, b"x" * 400, ""), now_s + 60) for _ in range(2)]
        store.buckets[0].wire.release()
        await asyncio.gather(*waiting)


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


@pytest.mark.parametrize("given_up", [False, True])
def test_a_bucket_that_does_not_welcome_is_hung_up_on(given_up: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries go on for ever: a socket that stayed open with each would be one too many in the end."""
    monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT_S", 60 if given_up else 0.1)

    @run_async
    async def check() -> None:
        greeted, gone = asyncio.Event(), asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while await reader.read(1000):
                    greeted.set()
            gone.set()
            writer.close()

        async with await asyncio.start_server(say_nothing, "127.0.0.1") as server:
            endpoint = Endpoint(server.sockets[0].getsockname(), "token", "incarnation")
            trying = asyncio.create_task(
                connection_module.open_connection(endpoint, 0, "", TEST_LIMITS, connection_module.connect_tcp)
            )
            await greeted.wait()
            if given_up:
                trying.cancel()
            async with asyncio.timeout(10):
                await gone.wait()
            with pytest.raises(asyncio.CancelledError if given_up else TimeoutError):
                await trying

    check()


@run_async
async def test_an_idle_connection_is_not_taken_for_a_dead_one() -> None:
    async with local_store() as store:
        directory = await store.directory()
        wire = store.buckets[0].wire
        accepted = wire.accepted
        connection = directory.view.link(0).connection()
        assert connection is not None
        await until(lambda: connection.calls_open == 0)
        assert connection._owed_since_s is None, "nothing is said for long, rightly"
        connection.expire()
        assert await put(directory, keys_of(0)[0], b"v", "")
        assert wire.accepted == accepted


class Transport(asyncio.Transport):
    """A connection's kernel side, which a test has take bytes, or not."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: object) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


@run_async
async def test_a_connection_whose_bytes_are_not_taken_refuses_calls_until_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then it is as good as before: idle, it owes nothing, and is not given up as silent."""
    loop = asyncio.get_running_loop()
    hello = Hello(versions.OLDEST, "token", 0, "", versions.NEWEST)
    connection = connection_module.ClientConnection(hello, TEST_LIMITS, loop)
    transport = Transport()
    connection.connection_made(transport)
    connection.pause_writing()
    with pytest.raises(Unavailable, match="too many operations"):
        connection.call(Get(b"k"), loop.time() + 10)
    connection.resume_writing()
    monkeypatch.setattr(connection_module, "SILENT_S", -1.0)
    connection.expire()
    assert connection.open
    connection.call(Get(b"k"), loop.time() + 10)
    connection.expire()
    assert not connection.open


@run_async
async def test_a_connection_that_swallows_heartbeats_is_given_up() -> None:
    """Each heartbeat alone expires sooner than a connection counts as silent; together they must still tell."""
    quick = (
        patch.object(connection_module, "SILENT_S", 0.6),
        patch.object(polling, "REFRESH_S", 0.05),
        patch.object(polling, "ASK_TIMEOUT_S", 0.2),
    )
    with quick[0], quick[1], quick[2]:
        await _swallow_heartbeats()


async def _swallow_heartbeats() -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        wire = store.buckets[0].wire
        accepted = wire.accepted
        wire.mute_replies = True
        await until(lambda: wire.accepted > accepted)
        wire.mute_replies = False
        await until(lambda: directory.view.link(0).connected)
        assert await put(directory, keys_of(0)[0], b"v", "")


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
async def test_the_values_being_stored_are_bounded_in_bytes() -> None:
    async with local_store(limits=Limits(max_held_bytes=10_000)) as store:
        directory = await store.directory()
        await store.buckets[1].crash()
        await until(lambda: not directory.view.link(1).connected)
        waiting = asyncio.create_task(put(directory, keys_of(1)[0], b"x" * 9_000, ""))
        await until(lambda: directory.view.link(1).calls_waiting == 1)
        with pytest.raises(Unavailable, match="too many bytes"):
            await put(directory, keys_of(0)[0], b"x" * 2_000, "")
        await put(directory, keys_of(0)[0], b"x" * 500, "")
        await store.buckets[1].start()
        await waiting
        await put(directory, keys_of(0)[0], b"x" * 2_000, "")


@run_async
async def test_values_that_were_not_stored_count_no_more() -> None:
    async with local_store(limits=Limits(max_held_bytes=10_000)) as store:
        directory = await store.directory()
        store.buckets[1].fault = "a bad block"
        await store.buckets[1].stop_server()
        await until(lambda: directory.view.link(1).faulted)
        with pytest.raises(Unavailable, match="a bad block"):
            await put(directory, keys_of(1)[0], b"x" * 9_000, "")
        store.buckets[0].wire.hold()
        both = [asyncio.create_task(put(directory, keys_of(0)[n], b"x" * 4_000, "")) for n in range(2)]
        await until(lambda: directory.view.link(0).calls_open >= 2 or any(each.done() for each in both))
        store.buckets[0].wire.release()
        await asyncio.gather(*both)


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
