"""Which version of the data plane two peers speak, and that nothing else is understood from then on."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from serve_app.errors import Unavailable
from serve_app.operations import Get, Increment, Put, Written
from serve_app.settings import Limits
from serve_app.wire import versions
from serve_app.wire.connection import HandshakeRefused, connect_tcp, open_connection
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.frames import encode_frame
from serve_app.wire.messages import Envelope, Hello, Reply, Welcome
from tests.support.asking import get, put
from tests.support.local_store import local_store, run_async, until
from tests.support.old_release import INCARNATION, TOKEN, payload, read_frame
from tests.support.quick_moves import filled, move_quickly, settled
from tests.support.raw_client import connect, hello, serving

#: The caller's oldest and newest (0: it does not say), and what comes of it.
NEGOTIATED = [
    ((4, 0), 4),
    ((4, 4), 4),
    ((3, 4), 4),
    ((4, 5), 5),
    ((5, 0), 5),
    ((5, 5), 5),
    ((5, 6), 6),
    ((6, 0), 6),
    ((6, 7), 7),
    ((7, 0), 7),
    ((7, 8), 7),
    ((4, 9), 7),
    ((1, 9), 7),
    ((8, 0), None),
    ((8, 9), None),
    ((3, 0), None),
    ((3, 3), None),
    ((2, 3), None),
    ((0, 0), None),
    ((5, 4), None),
]
#: A put as version 3 had it: envelope and body in one array. And what no version has.
OTHERS = [[2, 6, 1000, b"k", b"v", "", 0], [6, 1000, 0, 1000, [2, b"k", b"v", ""]], [6, 1000, 0, [2, b"k"]]]


@pytest.mark.parametrize(("spoken", "agreed"), NEGOTIATED)
@run_async
async def test_a_bucket_speaks_the_highest_version_that_both_know_or_hangs_up(
    spoken: tuple[int, int], agreed: int | None
) -> None:
    async with serving() as bucket:
        assert bucket.server is not None
        good = hello(bucket)
        client = await connect(bucket)
        client.send(Hello(spoken[0], good.token, 0, good.identity, spoken[1]))
        welcome = await client.receive()
        if agreed is None:
            assert welcome is None
            return
        assert welcome == Welcome(0, good.identity, bucket.server.bucket.incarnation, agreed)
        codec = versions.CODECS[agreed]
        client.writer.write(codec.encode_call(Envelope(5, 1000, 0, Put(b"k", b"v", ""))))
        assert await client.receive_reply() == Reply(5, Written(True, 1))


@pytest.mark.parametrize("other", OTHERS, ids=repr)
@run_async
async def test_a_bucket_hangs_up_on_what_is_of_no_version_that_it_speaks(other: list[object]) -> None:
    async with serving() as bucket:
        assert bucket.server is not None
        client = await connect(bucket)
        client.send(hello(bucket), Envelope(5, 1000, 0, Put(b"k", b"v", "")))
        await client.receive()
        assert await client.receive_reply() == Reply(5, Written(True, 1))
        client.writer.write(encode_frame(other))
        assert await client.receive() is None
        assert bucket.server.bucket.totals.revision == 1


#: What a Welcome names (0: nothing), and the version of the calls that follow.
WELCOMED = [(0, 4), (4, 4), (5, 5), (1, None), (3, None), (7, 7), (8, None), (-1, None)]


@pytest.mark.parametrize(("named", "spoken"), WELCOMED)
@run_async
async def test_a_caller_speaks_the_version_that_it_is_welcomed_in_or_closes_the_connection(
    named: int, spoken: int | None
) -> None:
    frames: list[bytes] = []
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_frame(reader)
        writer.write(encode_frame(Welcome(0, "zero", INCARNATION, named)))
        try:
            frames.append(await read_frame(reader))
            await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    endpoint = Endpoint((host, port), TOKEN, INCARNATION)
    if spoken is None:
        with pytest.raises(HandshakeRefused):
            await open_connection(endpoint, 0, "", Limits(), connect_tcp)
    else:
        connection, _ = await open_connection(endpoint, 0, "", Limits(), connect_tcp)
        later_s = asyncio.get_running_loop().time() + 1
        if spoken < Increment.since:
            with pytest.raises(Unavailable, match="an earlier release"):
                connection.call(Increment(b"k"), later_s)
        connection.call(Get(b"k"), later_s, epoch=7)
        await until(lambda: bool(frames))
        envelope = versions.CODECS[spoken].decode_call(payload(frames[0]))
        assert (envelope.call, envelope.epoch, envelope.body) == (1, 7, Get(b"k"))
        connection.close()
    await asyncio.wait_for(gone.wait(), 5)
    assert len(frames) == (spoken is not None)
    server.close()


# -- whole stores ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoken", [(4,), (4, 5)], ids=["4 alone", "4 and 5 in turns"])
@run_async
async def test_a_store_whose_processes_speak_version_4_moves_its_keys(
    spoken: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection speaks one or the other, as between processes of which some have been replaced."""
    move_quickly(monkeypatch)
    agreed: list[int] = []
    in_turns = itertools.cycle(spoken)

    def agree(greeting: Hello) -> int | None:
        agreed.append(next(in_turns))
        return agreed[-1]

    monkeypatch.setattr(versions, "agreed_version", agree)
    keys = [b"key-%03d" % number for number in range(100)]
    async with local_store(3) as store:
        directory = await filled(store, 1, keys)
        other = await store.directory(1)
        for count in (3, 2):
            for each in (directory, other):
                each.configuration.follow(count)
            await until(lambda count=count: settled(directory, count) and settled(other, count), 30)  # type: ignore[misc]
            for key in keys:
                assert await get(other, key) == b"v" * 100
                assert not await put(directory, key, b"v" * 100, "text/plain")
        assert sum(len(bucket.records) for bucket in store.buckets) == len(keys)
        assert store.buckets[0].records
        assert store.buckets[1].records
    assert set(agreed) == set(spoken)
