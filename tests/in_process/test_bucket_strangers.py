"""The bucket's door: what those who have not shown the token can cost those who have."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable

import msgspec
import pytest

from serve_app import operations
from serve_app.bucket import server as server_module
from serve_app.settings import Limits
from serve_app.wire import messages, versions
from serve_app.wire.frames import MAX_FRAME_BYTES, MAX_HELLO_BYTES, Decode, FrameError, FrameReader
from tests.support.local_store import run_async, until
from tests.support.raw_client import connect, greeted, hello, serving

#: Of which each side is open in this process.
KNOCKERS = 1_000
FRAME_OF_NO_MESSAGE = b"\0\0\0\1\x90"
NO_MESSAGE = "a frame that is no message"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, object]]]:
    """The fields of each line logged so far of a connection."""
    logger = logging.getLogger("serve_app")
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level("WARNING", logger="serve_app")
    return lambda: [
        {"event": record.getMessage(), **record.fields}  # type: ignore[attr-defined]
        for record in caplog.records
        if record.getMessage().startswith("connection ")
    ]


@pytest.fixture(autouse=True)
def enough_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * KNOCKERS
    if soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


@run_async
async def test_a_directory_gets_in_past_a_thousand_that_hold_on() -> None:
    async with serving(Limits(max_connections=2, disk_reserve_bytes=0)) as bucket:
        knockers = [await connect(bucket) for _ in range(KNOCKERS)]
        directory = await greeted(bucket)
        more = [await connect(bucket) for _ in range(KNOCKERS)]
        directory.send(messages.Envelope(1, 10_000, 0, operations.Put(b"k", b"v", "")))
        assert isinstance(await directory.receive(), operations.Written), "who has shown the token gives way to nobody"
        server = bucket.server
        assert server is not None
        assert len(server._strangers) <= server_module.MAX_STRANGERS
        assert len(server._connections) == 1
        del knockers, more


@run_async
async def test_clients_processes_take_no_slot_of_a_directory() -> None:
    limits = Limits(max_connections=1, max_client_connections=2, disk_reserve_bytes=0)
    async with serving(limits) as bucket:
        guests = [await greeted(bucket, guest=True) for _ in range(2)]
        third = await connect(bucket)
        third.send(hello(bucket, guest=True))
        assert await third.receive() is None, "there is no more room for such"
        directory = await greeted(bucket)
        for client in (*guests, directory):
            assert isinstance((await client.ask(operations.Put(b"k", b"v", "")))[0], operations.Written)
        guests[0].writer.close()
        await until(lambda: len(bucket.server._guests) == 1)  # type: ignore[union-attr]
        await greeted(bucket, guest=True)


@run_async
async def test_a_directory_gets_in_past_those_who_knock_in_a_loop() -> None:
    async with serving(Limits(max_connections=2, disk_reserve_bytes=0)) as bucket:
        knocks = 0

        async def knock() -> None:
            nonlocal knocks
            while True:
                client = await connect(bucket)
                client.writer.write(FRAME_OF_NO_MESSAGE)
                assert await client.receive() is None
                knocks += 1

        # Fewer than the slots: each is answered at once, so that they knock as fast as the bucket can hang up.
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(knock()) for _ in range(200)]
            await until(lambda: knocks > KNOCKERS)
            directories = [await greeted(bucket) for _ in range(2)]
            before = knocks
            await until(lambda: knocks > before + KNOCKERS)
            for directory in directories:
                directory.send(messages.Envelope(1, 10_000, 0, operations.Put(b"k", b"v", "")))
                assert isinstance(await directory.receive(), operations.Written)
            for task in tasks:
                task.cancel()


@run_async
async def test_who_gives_way_is_the_one_that_has_held_on_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_STRANGERS", 3)
    async with serving() as bucket:
        server = bucket.server
        assert server is not None
        clients = []
        for number in range(3):
            clients.append(await connect(bucket))
            await until(lambda number=number: len(server._strangers) == number + 1)  # type: ignore[misc]
        await connect(bucket)
        assert await clients[0].receive() is None
        clients[1].send(hello(bucket))
        assert isinstance(await clients[1].receive(), messages.Welcome)


@run_async
async def test_a_bucket_that_stops_keeps_nobody_connected() -> None:
    async with serving() as bucket:
        directory, stranger = await greeted(bucket), await connect(bucket)
        server = bucket.server
        assert server is not None
        await until(lambda: len(server._strangers) == 1)
        await bucket.stop_server()
        async with asyncio.timeout(2):  # well before its time to greet is over
            assert await directory.receive() is None
            assert await stranger.receive() is None


def test_many_knocks_are_few_lines_and_all_are_counted(lines: Callable[[], list[dict[str, object]]]) -> None:
    took_s: list[float] = []

    @run_async
    async def check() -> None:
        started_s = asyncio.get_running_loop().time()
        async with serving() as bucket:
            for _ in range(100):
                client = await connect(bucket)
                client.writer.write(FRAME_OF_NO_MESSAGE)
                assert await client.receive() is None
        took_s.append(asyncio.get_running_loop().time() - started_s)

    check()
    found = lines()
    counts = [int(str(line.get("count", 1))) for line in found]
    assert sum(counts) == 100, "the last ones too, which only the end brings out"
    assert len(found) <= 2 + took_s[0], "one at once, one a second, and one at the end"
    assert {line["event"] for line in found} == {"connection closed"}
    assert {line["bucket"] for line in found} == {0}


def test_what_is_said_of_a_peer_that_holds_the_token_is_not_lost_among_knocks(
    lines: Callable[[], list[dict[str, object]]],
) -> None:
    @run_async
    async def check() -> None:
        async with serving() as bucket:
            directory = await greeted(bucket)
            for _ in range(10):
                client = await connect(bucket)
                client.writer.write(FRAME_OF_NO_MESSAGE)
                assert await client.receive() is None
            directory.send(hello(bucket))
            assert await directory.receive() is None
            # A second Hello; what is said of knocks is another thing.
            assert f"{NO_MESSAGE}: Expected `int`, got `str` - at `$[2]`" in {line["reason"] for line in lines()}

    check()


def nested(depth: int) -> bytes:
    """A frame with an array in an array, and so on: 0x91 is msgpack's array of one."""
    payload = b"\x91" * depth
    return len(payload).to_bytes(4, "big") + payload


#: Messages as a later release might send them, up to a field more than this one knows.
HELLO = b"\x97\x00\x04\xa0\x00\xa0\x05"
WELCOME = b"\x96\x00\x00\xa0\xa0\x05"
GET = b"\x94\x01\xcd\x03\xe8\x00\x94\x01\xc4\x01k\xc0"
MISSING = b"\x92\x01\x92\x02"


def in_a_field_too_many(message: bytes, depth: int) -> bytes:
    payload = message + b"\x91" * depth
    return len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        (versions.decode_hello, HELLO),
        (versions.decode_welcome, WELCOME),
        *((codec.decode_call, GET) for codec in versions.CODECS.values()),
        *((codec.decode_reply, MISSING) for codec in versions.CODECS.values()),
    ],
)
def test_a_deeply_nested_frame_is_refused_by_name(decode: Decode[msgspec.Struct], message: bytes) -> None:
    for frame in (nested(MAX_HELLO_BYTES), in_a_field_too_many(message, MAX_HELLO_BYTES - 20)):
        reader: FrameReader[msgspec.Struct] = FrameReader(decode, MAX_FRAME_BYTES)
        reader.feed(frame)
        with pytest.raises(FrameError, match="no message"):
            reader.next()


@pytest.mark.parametrize(("message", "newest"), [(HELLO, 0), *((GET, version) for version in versions.CODECS)])
def test_a_deeply_nested_frame_ends_the_connection_and_no_more(
    message: bytes, newest: int, lines: Callable[[], list[dict[str, object]]]
) -> None:
    complaints: list[object] = []

    @run_async
    async def check() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        async with serving() as bucket:
            client = await connect(bucket)
            if message != HELLO:
                client.send(msgspec.structs.replace(hello(bucket), newest=newest))
                assert isinstance(await client.receive(), messages.Welcome)
            client.writer.write(in_a_field_too_many(message, 4_000))
            assert await client.receive() is None
            await greeted(bucket)

    check()
    assert complaints == []
    assert "a frame that is no message" in str(lines()[0]["reason"])
