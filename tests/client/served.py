"""A store of this process behind real HTTP, in a thread of its own: the real front, directory and bucket, without Ray; and a
relay in front of it that breaks connections where it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import uvicorn

from serve_app.auth.gate import Gate
from serve_app.directory.directory import Directory
from serve_app.http.app import build_http
from serve_app.settings import Limits
from tests.support.local_store import TEST_LIMITS, LocalStore, local_store


class Served:
    """url: where it is. directory: the one behind it, which belongs to the thread (`do`). store: how a directory of another
    loop finds its buckets."""

    def __init__(
        self, bucket_count: int = 2, *, buckets: int = 2, limits: Limits = TEST_LIMITS, gate: Gate | None = None
    ) -> None:
        """bucket_count: what the store is founded with; buckets: how many there are, some of them for a move to come."""
        self.url = ""
        self.directory: Directory | None = None
        self.store: LocalStore | None = None
        self._bucket_count, self._buckets, self._limits, self._gate = bucket_count, buckets, limits, gate
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def do(self, work: Callable[[Directory], None]) -> None:
        """Have something done to the directory, in its thread."""
        assert self._loop is not None
        assert self.directory is not None
        self._loop.call_soon_threadsafe(work, self.directory)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with local_store(self._buckets, self._limits) as store:
            self.store = store
            # Those beyond its number are there, and no part of the store yet.
            self.directory = await store.directory(self._bucket_count)
            app = build_http(self.directory, self._limits, gate=self._gate)
            config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
            server = uvicorn.Server(config)
            with contextlib.suppress(AttributeError):
                server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            serving = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            self.url = "http://{}:{}".format(*server.servers[0].sockets[0].getsockname())
            self._ready.set()
            await self._stop.wait()
            server.should_exit = server.force_exit = True
            await serving


class Relay:
    """Between a client and a store: breaks the next connection after so many bytes of what the client sends, or of what the
    store answers. Each connection after that is left alone."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self._listener.getsockname())
        #: Bytes that still pass; None where nothing is broken.
        self.request_bytes: int | None = None
        self.answer_bytes: int | None = None
        #: How much went each way, of the connection that ended last.
        self.passed: tuple[int, int] = (0, 0)
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            plan = (self.request_bytes, self.answer_bytes)
            self.request_bytes = self.answer_bytes = None
            threading.Thread(target=self._relay, args=(client, plan), daemon=True).start()

    def _relay(self, client: socket.socket, plan: tuple[int | None, int | None]) -> None:
        counts = [0, 0]
        with client, socket.create_connection(self._target) as store:
            back = threading.Thread(target=self._pass, args=(store, client, plan[1], counts, 1), daemon=True)
            back.start()
            self._pass(client, store, plan[0], counts, 0)
            back.join()
        self.passed = (counts[0], counts[1])

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, most: int | None, counts: list[int], way: int) -> None:
        try:
            while most is None or counts[way] < most:
                some = source.recv(65536 if most is None else most - counts[way])
                if not some:
                    break
                sink.sendall(some)
                counts[way] += len(some)
        except OSError:
            pass
        for each in (source, sink):
            with contextlib.suppress(OSError):
                if most is not None:  # a reset, both ways
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def served() -> Iterator[Served]:
    store = Served()
    store.start()
    try:
        yield store
    finally:
        store.stop()
