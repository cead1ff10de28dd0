"""The bucket's server against clients that do not keep to the protocol, and those that do not read."""

from __future__ import annotations

import asyncio
import json
import threading

import msgspec
import pytest

from serve_app import operations
from serve_app.bucket import connection as connection_module
from serve_app.bucket.calls import Calls
from serve_app.bucket.standing import Served, Standing
from serve_app.placement import bucket_of
from serve_app.settings import Limits
from serve_app.storage.engine import Changes
from serve_app.topology import MAX_EPOCH, Topology
from serve_app.wire import messages, versions
from serve_app.wire.frames import MAX_FRAME_BYTES, MAX_HELLO_BYTES
from serve_app.wire.messages import AcceptLoss, Envelope, Hello, Welcome
from tests.support.local_store import LocalBucket, run_async, until
from tests.support.outlet import Outlet
from tests.support.raw_client import RawClient, connect, greeted, hello, serving


@run_async
async def test_a_good_hello_is_welcomed_with_who_it_is() -> None:
    async with serving() as bucket:
        client = await connect(bucket)
        client.send(hello(bucket))
        server = bucket.server
        assert server is not None
        assert await client.receive() == Welcome(0, server.bucket.identity, server.bucket.incarnation, versions.NEWEST)
        (served,) = server._connections
        assert served._timer is None, "it may say nothing for as long as it likes"


@run_async
async def test_anything_but_a_good_hello_is_hung_up_on() -> None:
    async with serving() as bucket:
        good = hello(bucket)
        for bad in (
            Hello(good.newest + 1, good.token, 0, good.identity, good.newest + 1),
            Hello(good.oldest, "0" * 64, 0, good.identity, good.newest),
            Hello(good.oldest, "", 0, good.identity, good.newest),
            Hello(good.oldest, good.token, 1, good.identity, good.newest),
            Hello(good.oldest, good.token, 0, "someone else", good.newest),
            Envelope(1, 1000, 0, operations.Get(b"k")),
            Envelope(1, 1000, 0, operations.Put(b"k", b"v", "")),
        ):
            client = await connect(bucket)
            client.send(bad, good, Envelope(2, 1000, 0, operations.Put(b"sneaked", b"in", "")))
            assert await client.receive() is None
        assert bucket.records == {}


@run_async
async def test_garbage_is_hung_up_on_and_costs_nobody_else_anything() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\5hello", b"\xff" * 100):
            for first in (False, True):
                other = await connect(bucket) if first else await greeted(bucket)
                other.writer.write(garbage)
                assert await other.receive() is None
        client.send(Envelope(1, 1000, 0, operations.Put(b"k", b"v", "")))
        assert isinstance(await client.receive(), operations.Written)


@run_async
async def test_a_frame_over_the_limit_closes_the_connection_at_once() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        client.writer.write((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
        assert await client.receive() is None
        stranger = await connect(bucket)
        stranger.writer.write((MAX_HELLO_BYTES + 1).to_bytes(4, "big"))
        assert await stranger.receive() is None, "who has not shown the token gets less"


@run_async
async def test_a_second_hello_is_hung_up_on() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        client.send(hello(bucket))
        assert await client.receive() is None


def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HANDSHAKE_TIMEOUT_S", 0.05)

    @run_async
    async def check() -> None:
        async with serving() as bucket:
            assert await (await connect(bucket)).receive() is None

    check()


@run_async
async def test_only_so_many_connections_are_taken() -> None:
    async with serving(Limits(max_connections=3, disk_reserve_bytes=0)) as bucket:
        clients = [await greeted(bucket) for _ in range(3)]
        refused = await connect(bucket)
        refused.send(hello(bucket))
        assert await refused.receive() is None
        clients[0].writer.close()
        await until(lambda: len(bucket.server._connections) == 2)  # type: ignore[union-attr]
        await greeted(bucket)


@run_async
async def test_a_key_that_lives_elsewhere_is_answered_moved() -> None:
    async with serving() as bucket:
        inner = bucket.server.bucket  # type: ignore[union-attr]
        inner.state.standing = Standing(Topology(2, 2, 2, "store", ("a", "b")), None, {})
        inner._served = Served(inner.state.standing)
        client = await greeted(bucket)
        at_home = {0: b"", 1: b""}
        for number in range(20):
            at_home[bucket_of(b"k%d" % number, 2)] = b"k%d" % number
        requests: list[Envelope] = [
            Envelope(0, 1000, 0, operations.Get(at_home[1])),
            Envelope(1, 1000, 0, operations.Put(at_home[1], b"v", "")),
            Envelope(2, 1000, 0, operations.Delete(at_home[1])),
        ]
        for number, request in enumerate(requests):
            client.send(request)
            reply = await client.receive_reply()
            assert isinstance(reply.answer, messages.Moved)
            assert reply.call == number
            assert reply.answer.topology is not None
            assert reply.answer.topology.epoch == 2
        client.send(Envelope(3, 1000, 0, operations.Put(at_home[0], b"v", "")))
        assert isinstance(await client.receive(), operations.Written)
        assert list(bucket.records) == [at_home[0]]


@run_async
async def test_a_head_says_what_a_value_is_like_wherever_it_is_found() -> None:
    text = 'a "quoted" line\n and Zoë'
    async with serving() as bucket:
        client = await greeted(bucket)
        assert bucket.server is not None
        bucket.server.bucket.state.now_ms = lambda: 1_000_000
        client.send(
            Envelope(1, 10_000, 0, operations.Put(b"k", text.encode(), "text/plain", expires_ms=1 << 47)),
            Envelope(2, 10_000, 0, operations.Put(b"bytes", b"\xff\xfe", "image/png")),
        )
        assert [await client.receive() for _ in range(2)] == [operations.Written(True, n) for n in (1, 2)]
        length = len(json.dumps(text, ensure_ascii=False).encode())
        described = operations.Described(length, "text/plain", 1, len(text.encode()), 1_000_000, 1 << 47)
        expected: list[tuple[operations.Head, operations.Answer]] = [
            (operations.Head(b"k"), described),
            (operations.Head(b"k", as_json=False), msgspec.structs.replace(described, json_bytes=0)),
            (operations.Head(b"bytes"), operations.Described(0, "image/png", 2, 2, 1_000_000)),
            (operations.Head(b"none"), operations.Missing()),
        ]
        for cold in (False, True):
            if cold:
                bucket.engine.cold |= {b"k", b"bytes", b"none"}
            for call, (asked, answer) in enumerate(expected):
                client.send(Envelope(call, 10_000, 0, asked))
                assert await client.receive() == answer, (asked, cold)


@run_async
async def test_many_in_flight_are_all_answered_by_their_call() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        for call in range(500):
            client.send(Envelope(call, 10_000, 0, operations.Put(b"k%d" % (call % 7), b"%d" % call, "")))
            client.send(Envelope(1000 + call, 10_000, 0, operations.Get(b"k%d" % (call % 7))))
        replies = [await client.receive_reply() for _ in range(1000)]
        assert sorted(reply.call for reply in replies) == [*range(500), *range(1000, 1500)]
        assert all(
            isinstance(
                reply.answer, operations.Written if reply.call < 1000 else (operations.Value, operations.Missing)
            )
            for reply in replies
        )


@run_async
async def test_a_full_write_queue_refuses_at_once() -> None:
    async with serving(Limits(max_queued_writes=5, disk_reserve_bytes=0)) as bucket:
        client = await greeted(bucket)
        let_go = threading.Event()
        write = bucket.engine.write

        def held(records: Changes, facts: Changes) -> None:
            assert let_go.wait(10)
            write(records, facts)

        bucket.engine.write = held  # type: ignore[method-assign]
        client.send(*(Envelope(call, 10_000, 0, operations.Put(b"k%d" % call, b"v", "")) for call in range(8)))
        refused = [await client.receive() for _ in range(3)]  # while the disk holds the first ones
        assert all(isinstance(reply, messages.Refused) and reply.reason == "busy" for reply in refused)
        let_go.set()
        assert all([isinstance(await client.receive(), operations.Written) for _ in range(5)])
        assert len(bucket.records) == 5


@run_async
async def test_a_full_read_queue_refuses_at_once() -> None:
    async with serving(Limits(max_queued_reads=2, disk_reserve_bytes=0)) as bucket:
        bucket.engine.cold = {b"k"}
        assert bucket.server is not None
        outlet = Outlet()
        calls = Calls(bucket.server, outlet)
        for call in range(5):
            calls.handle(Envelope(call, 10_000, 0, operations.Get(b"k")), bucket.server.bucket.clock())
        assert [(reply.call, reply.answer.reason) for reply in outlet.sent] == [(n, "busy") for n in (2, 3, 4)]
        calls.begin_gathered()
        await until(lambda: len(outlet.sent) == 5)
        assert [reply.answer for reply in outlet.sent[3:]] == [operations.Missing()] * 2


@run_async
async def test_what_no_directory_would_send_is_refused_and_breaks_nothing() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        client.send(
            Envelope(1, 1000, 0, operations.Put(b"", b"v", "")),
            Envelope(2, 1000, 0, operations.Put(b"k" * 1025, b"v", "")),
            Envelope(3, 1000, 0, operations.Put(b"k", b"v", "x" * 256)),
            Envelope(4, 1000, 0, operations.Delete(b"")),
        )
        for _ in range(4):
            reply = await client.receive()
            assert isinstance(reply, messages.Refused)
            assert reply.reason == "invalid"
        client.send(Envelope(5, 1000, 0, operations.Put(b"k", b"v", "x" * 255)))
        assert isinstance(await client.receive(), operations.Written)


@run_async
async def test_a_loss_is_not_accepted_beyond_the_highest_epoch() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        identity = bucket.server.bucket.identity  # type: ignore[union-attr]
        last = Topology(2 * MAX_EPOCH, 2, 2, "store", (identity, "other"))
        client.send(Envelope(1, 10_000, 0, messages.Install(last)), Envelope(2, 10_000, 0, AcceptLoss(1, "another")))
        assert isinstance(await client.receive(), messages.Status)
        refused = await client.receive()
        assert isinstance(refused, messages.Refused)
        assert refused.reason == "invalid"
        client.send(Envelope(3, 10_000, 0, operations.Put(b"k0", b"v", "")))
        assert await client.receive() == operations.Written(True, 1)
        assert bucket.failures == []


async def asking_for_much_and_reading_nothing(bucket: LocalBucket) -> RawClient:
    """A client that has asked for 100 values of 4 MB and takes none of them."""
    client = await greeted(bucket)
    client.send(Envelope(0, 10_000, 0, operations.Put(b"big", b"x" * 4_000_000, "")))
    await client.receive()
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    client.send(*(Envelope(call, 60_000, 0, operations.Get(b"big")) for call in range(1, 101)))
    return client


@run_async
async def test_a_peer_that_reads_nothing_does_not_grow_the_bucket() -> None:
    """Replies of 400 MB are asked for and not read: what waits for the peer stays bounded, and all come when it reads."""
    async with serving() as bucket:
        client = await asking_for_much_and_reading_nothing(bucket)
        server = bucket.server
        assert server is not None
        (served,) = server._connections
        await until(lambda: served.paused)
        assert served._transport is not None
        assert served._transport.get_write_buffer_size() < 20_000_000
        other = await greeted(bucket)
        other.send(Envelope(1, 1000, 0, operations.Put(b"k", b"v", "")))
        assert isinstance(await other.receive(), operations.Written), "others are served meanwhile"
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        replies = [await client.receive_reply() for _ in range(100)]
        assert sorted(reply.call for reply in replies) == list(range(1, 101))
        await until(lambda: not served.paused)
        assert served._timer is None, "nothing is expected of it any more, however long it says nothing"


@run_async
async def test_what_a_peer_asked_for_is_not_read_any_more_once_it_is_gone() -> None:
    async with serving() as bucket:
        bucket.engine.cold = {b"k"}
        let_go, read, reads = threading.Event(), bucket.engine.get, 0

        def held(key: bytes) -> bytes | None:
            nonlocal reads
            reads += 1
            assert let_go.wait(10)
            return read(key)

        bucket.engine.get = held  # type: ignore[method-assign]
        client = await greeted(bucket)
        server = bucket.server
        assert server is not None
        (served,) = server._connections
        assert served._calls is not None
        cold = served._calls._cold
        client.send(*(Envelope(call, 60_000, 0, operations.Get(b"k")) for call in range(200)))
        await until(lambda: len(cold._queue) + 64 == 200)
        client.writer.transport.abort()
        await until(lambda: not server._connections)
        let_go.set()
        await until(lambda: not cold._batches)
        assert reads == 64, "no more than was under way"


def test_a_peer_that_reads_nothing_for_long_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "STALLED_PEER_S", 0.1)

    @run_async
    async def check() -> None:
        async with serving() as bucket:
            client = await asking_for_much_and_reading_nothing(bucket)
            await until(lambda: not bucket.server._connections)  # type: ignore[union-attr]
            del client  # kept until here: one that is collected hangs up itself

    check()


@run_async
async def test_what_is_under_way_when_it_stops_is_committed_and_answered() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        writing, let_go, write = threading.Event(), threading.Event(), bucket.engine.write

        def held(records: Changes, facts: Changes) -> None:
            writing.set()
            assert let_go.wait(10)
            write(records, facts)

        bucket.engine.write = held  # type: ignore[method-assign]
        client.send(Envelope(1, 10_000, 0, operations.Put(b"k", b"v", "")))
        await until(writing.is_set)
        assert bucket.server is not None
        stopping = asyncio.create_task(bucket.server.stop())
        client.send(Envelope(2, 10_000, 0, operations.Get(b"other")))
        await client.receive()
        let_go.set()
        assert isinstance(await client.receive(), operations.Written)
        await stopping
        bucket.server = None
        assert bucket.records.keys() == {b"k"}


@run_async
async def test_a_failed_sync_is_reported_and_nothing_is_acknowledged() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        bucket.engine.fail_next_write = True
        client.send(Envelope(1, 1000, 0, operations.Put(b"k", b"v", "")))
        await until(lambda: len(bucket.failures) == 1)  # the actor ends its process here
        client.send(Envelope(2, 1000, 0, messages.Inspect()))
        reply = await client.receive_reply()
        assert isinstance(reply.answer, messages.Status)
        assert reply.call == 2
        assert reply.answer.keys == 0
