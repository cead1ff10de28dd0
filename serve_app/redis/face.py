"""Where a directory listens for the Redis protocol, and what all its connections share: their number and what they hold."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from serve_app import events
from serve_app.auth.tokens import Tokens
from serve_app.directory.directory import Directory
from serve_app.directory.gathering import Gathering
from serve_app.redis.command import Command
from serve_app.redis.connection import Connection
from serve_app.redis.cursors import Cursors
from serve_app.redis.table import TABLE
from serve_app.settings import Limits
from serve_app.wire import tls

#: Connections of one directory; fewer where the process may not have so many files.
MAX_CONNECTIONS = 10_000
#: Files that the process needs for all else.
_OTHER_FILES = 512
_BACKLOG = 1024
_LISTEN_AGAIN_S = 1.0
#: How often it is looked who has not shown a token, and for how long that is waited for.
_SWEEP_S, _UNKNOWN_S = 1.0, 10.0
#: How long commands that are under way may take when the directory ends.
_DRAIN_S = 10.0


def _now_us() -> int:
    return time.time_ns() // 1000


class Face:
    """See the package. An async context manager: it listens in between. tokens: those that are taken; nobody needs one where
    None. leaving_s: for how long it goes on when it is to end, while others still send new connections here."""

    def __init__(
        self,
        directory: Directory,
        limits: Limits,
        host: str,
        port: int,
        tokens: Tokens | None = None,
        now_us: Callable[[], int] = _now_us,
        leaving_s: float = 0.0,
    ) -> None:
        self.directory, self.tokens, self._now_us = directory, tokens, now_us
        self.gathering = Gathering(directory)
        self.max_value_bytes = limits.max_value_bytes
        self.max_held_in_bytes, self.max_held_out_bytes = limits.max_upload_bytes, limits.max_response_bytes
        self.commands: dict[bytes, Command] = TABLE
        self.cursors = Cursors()
        self.host, self.port = host, port
        self.max_connections = MAX_CONNECTIONS
        self.connections_in_all = self.commands_in_all = 0
        #: Bytes of commands that are not whole, and of answers that nobody has taken yet.
        self.held_in_bytes = self.held_out_bytes = 0
        self._connections: set[Connection] = set()
        self._to_flush: list[Connection] = []
        #: Set when the last one has ended, where that is waited for.
        self._empty: asyncio.Event | None = None
        self._number = 0
        self._started_s = time.monotonic()
        self._leaving_s = leaving_s
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.max_connections = _most_connections()
        if not await self._listen():
            self._tasks.append(asyncio.create_task(self._keep_trying(), name="redis-listen"))
        self._tasks.append(asyncio.create_task(self._sweep(), name="redis-sweep"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.sleep(self._leaving_s)
        if self._server is not None:
            self._server.close()
        await self.drain(_DRAIN_S)

    async def drain(self, timeout_s: float) -> None:
        """End connections as soon as nothing of them is under way; all of them after the timeout."""
        for connection in list(self._connections):
            connection.end()
        if self._connections:
            self._empty = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout_s)
        for connection in list(self._connections):
            connection.abort()

    @property
    def connected(self) -> int:
        return len(self._connections)

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return self._now_us()

    def now_ms(self) -> int:
        """Milliseconds since then."""
        return self._now_us() // 1000

    def uptime_s(self) -> float:
        return time.monotonic() - self._started_s

    # What connections tell.

    def made(self, connection: Connection) -> int:
        """A number for it; 0 where there are too many."""
        self.connections_in_all += 1
        if len(self._connections) >= self.max_connections:
            return 0
        self._connections.add(connection)
        self._number += 1
        return self._number

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self._empty is not None and not self._connections:
            self._empty.set()

    def wrote(self, connection: Connection) -> None:
        """It has something to write. That is done for all together: a system call that wakes a client costs much more than
        one for a client that is awake, and those that come at once find it so."""
        if not self._to_flush:
            asyncio.get_running_loop().call_soon(self._flush)
        self._to_flush.append(connection)

    def _flush(self) -> None:
        connections, self._to_flush = self._to_flush, []
        for connection in connections:
            connection.flush()

    def holds(self, connection: Connection, held_in: int, held_out: int) -> None:
        """What it holds now. Where all of them hold too much, one gives way: of commands whoever is most stalled, as bodies
        of HTTP's requests do; of answers whoever has most."""
        self.held_in_bytes += held_in - connection.held_in
        self.held_out_bytes += held_out - connection.held_out
        connection.held_in, connection.held_out = held_in, held_out
        if self.held_in_bytes > self.max_held_in_bytes:
            now_s = asyncio.get_running_loop().time()
            self._give_way(max(self._connections, key=lambda each: each.stalled(now_s)), "commands that wait")
        if self.held_out_bytes > self.max_held_out_bytes:
            self._give_way(max(self._connections, key=lambda each: each.held_out), "answers that are not read")

    def _give_way(self, connection: Connection, what: str) -> None:
        events.warning("redis connection ended", reason=f"connections hold too many bytes of {what}")
        connection.abort()

    # In the background.

    async def _listen(self) -> bool:
        """Whether it listens now."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Connection(self),
                self.host,
                self.port,
                reuse_port=True,
                backlog=_BACKLOG,
                ssl=(context := tls.server_context()),
                ssl_handshake_timeout=None if context is None else _UNKNOWN_S,
            )
        except OSError as error:
            events.error("redis port not to be had", host=self.host, port=self.port, reason=str(error))
            return False
        self.port = self._server.sockets[0].getsockname()[1]
        return True

    async def _keep_trying(self) -> None:
        while True:
            await asyncio.sleep(_LISTEN_AGAIN_S)
            if await self._listen():
                return

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            now_s = time.monotonic()
            for connection in list(self._connections):
                if not connection.known and now_s - connection.since_s > _UNKNOWN_S:
                    connection.abort()


def _most_connections() -> int:
    """As many as the process may have files for; its limit is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
        except (OSError, ValueError):
            pass
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(MAX_CONNECTIONS, soft - _OTHER_FILES))
