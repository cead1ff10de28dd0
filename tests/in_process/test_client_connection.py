"""The caller's end of a connection: greeted, idle, swallowed, or not read from."""

from __future__ import annotations

import asyncio
import contextlib
from unittest.mock import patch

import pytest

from serve_app.directory import polling
from serve_app.errors import Unavailable
from serve_app.operations import Get
from serve_app.wire import connection as connection_module
from serve_app.wire import versions
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.messages import Hello
from tests.support.asking import keys_of, put
from tests.support.local_store import TEST_LIMITS, local_store, run_async, until


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
