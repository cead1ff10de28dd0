"""Two buckets, a directory and its face for the Redis protocol on a loop in a thread: all real, but for Ray."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import redis

from serve_app.auth.tokens import Tokens
from serve_app.directory.directory import Directory
from serve_app.redis.face import Face
from serve_app.settings import Limits
from tests.support.local_store import TEST_LIMITS, LocalStore, local_store


class Faced:
    """port: where it listens. face, directory, store: to be looked at and changed in its own thread, by `do`."""

    def __init__(self, limits: Limits = TEST_LIMITS, tokens: Tokens | None = None) -> None:
        self._limits, self._tokens = limits, tokens
        self.port = 0
        self.face: Face
        self.directory: Directory
        self.store: LocalStore
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def do(self, work: Callable[[], object]) -> None:
        """Have something done in its thread, and wait for that."""
        done = threading.Event()

        def run() -> None:
            work()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(20)

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with local_store(2, self._limits) as self.store:
            self.directory = await self.store.directory(2)
            async with Face(self.directory, self._limits, "127.0.0.1", 0, self._tokens) as self.face:
                self.port = self.face.port
                self._ready.set()
                await self._stop.wait()


def connected(port: int, **options: Any) -> Any:
    """A client of redis-py that sends nothing again. (Of its methods most are typed for sync and async at once.)"""
    return redis.Redis(port=port, retry=None, **options)  # type: ignore[arg-type]
