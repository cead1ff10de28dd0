"""Buckets and directories in one process on one loop: the real servers and connections over loopback, without Ray.

Between a directory and each bucket sits a `Wire`, a TCP relay that a test can cut, mute or hold, so that a connection breaks
at a chosen moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from serve_app.bucket.platform import Platform
from serve_app.bucket.server import BucketServer
from serve_app.directory.directory import Directory
from serve_app.settings import Limits
from serve_app.storage.engine import EngineFailed
from serve_app.storage.facts import read_bucket_facts, read_storage_facts
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.link import BucketFault
from tests.support.memory_engine import MemoryEngine, new_bucket_engine

#: Below pytest's own timeout.
_LONGEST_TEST_S = 240.0
TEST_LIMITS = Limits(request_timeout_s=5.0, disk_reserve_bytes=0)


class MemoryStorage:
    """A `Storage` on a memory engine."""

    def __init__(self, engine: MemoryEngine, bucket_id: int) -> None:
        self.engine = engine
        self.own = read_storage_facts(engine.get_fact, bucket_id, "memory")
        self.facts = read_bucket_facts(engine.get_fact, "memory")


class Wire:
    """A relay in front of one bucket's server."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.target: tuple[str, int] = ("", 0)
        #: Bytes that went to the bucket; connections that were made.
        self.to_bucket = 0
        self.accepted = 0
        #: Replies are dropped on the floor while this is set.
        self.mute_replies = False

    async def start(self) -> tuple[str, int]:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        return address

    def cut(self) -> None:
        """Break every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def hold(self) -> None:
        """Let nothing through to the bucket until `release`."""
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        try:
            bucket_reader, bucket_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(bucket_writer)
        for source, sink, to_bucket in ((reader, bucket_writer, True), (bucket_reader, writer, False)):
            task = asyncio.create_task(self._relay(source, sink, to_bucket))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, to_bucket: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if to_bucket:
                    await self._flowing.wait()
                    self.to_bucket += len(data)
                elif self.mute_replies:
                    continue
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
        self._writers.discard(sink)


class LocalBucket:
    """One bucket that can be stopped, crashed and brought back."""

    def __init__(
        self,
        bucket_id: int,
        limits: Limits,
        store: LocalStore | None = None,
        platform: Platform = Platform(),  # noqa: B008 - it is immutable
    ) -> None:
        self.bucket_id = bucket_id
        self._platform = platform
        self._store = store
        #: Whether the store has gone on without it, and it has ended.
        self.retired = False
        self.engine = new_bucket_engine(bucket_id)
        self.wire = Wire()
        self.server: BucketServer | None = None
        self.endpoint: Endpoint | None = None
        #: What the actor would report instead of an endpoint.
        self.fault = ""
        self.failures: list[EngineFailed] = []
        self._limits = limits
        self._address: tuple[str, int] | None = None

    async def start(self) -> None:
        """Serve from the engine, behind the wire."""
        storage = MemoryStorage(self.engine, self.bucket_id)
        self.server = BucketServer(
            storage,
            self._limits,
            asyncio.get_running_loop(),
            failed=lambda error: self.failures.append(error),
            platform=self._platform,
        )
        endpoint = await self.server.start("127.0.0.1")
        if self._store is not None:
            self.server.take_part_in_moves(self._store, retired=self._retire)
        self.wire.target = endpoint.address
        if self._address is None:
            self._address = await self.wire.start()
        self.endpoint = Endpoint(self._address, endpoint.token, endpoint.incarnation)

    def _retire(self) -> None:
        self.retired = True

    async def crash(self) -> None:
        """End at once, as kill -9 does; what was synced stays."""
        self.endpoint = None
        self.engine = self.engine.crash()
        await self.stop_server()

    async def come_back_with(self, engine: MemoryEngine) -> None:
        """Crash, and start again on another volume."""
        await self.crash()
        self.engine = engine
        await self.start()

    async def stop_server(self) -> None:
        server, self.server = self.server, None
        if server is not None:
            self.wire.cut()
            await server.stop()

    @property
    def records(self) -> dict[bytes, bytes]:
        """Keys and raw records that are on disk."""
        return dict(self.engine.scan())


class LocalStore:
    """Some buckets and the control plane that finds them."""

    def __init__(
        self,
        bucket_count: int,
        limits: Limits = TEST_LIMITS,
        platform: Platform = Platform(),  # noqa: B008 - it is immutable
    ) -> None:
        self.limits = limits
        self.buckets = [LocalBucket(bucket_id, limits, self, platform) for bucket_id in range(bucket_count)]
        self.resolved: list[int] = []
        self._directories: list[Directory] = []

    async def ids(self) -> list[int]:
        """Implements ControlPlane: one that is being started again is there too."""
        return [bucket.bucket_id for bucket in self.buckets if not bucket.retired]

    async def resolve(self, bucket_id: int) -> Endpoint:
        """Implements ControlPlane."""
        self.resolved.append(bucket_id)
        if bucket_id >= len(self.buckets):
            raise ConnectionError(f"bucket-{bucket_id} does not exist")
        bucket = self.buckets[bucket_id]
        if bucket.fault:
            raise BucketFault(bucket.fault)
        if bucket.endpoint is None:
            raise ConnectionError(f"bucket-{bucket_id} is not running")
        return bucket.endpoint

    async def directory(self, bucket_count: int | None = None, *, settled: bool = True, **options: Any) -> Directory:
        """A started directory; `settled` waits until it knows the topology."""
        directory = Directory(self, options.pop("limits", self.limits), **options)
        directory.configuration.follow(len(self.buckets) if bucket_count is None else bucket_count)
        await directory.start()
        self._directories.append(directory)
        if settled:
            await directory.view.wait_for_topology(asyncio.get_running_loop().time() + 5)
            await until(lambda: all(link.connected for link in directory.view.links.values()))
        return directory

    async def stop(self) -> None:
        for directory in self._directories:
            await directory.stop()
        for bucket in self.buckets:
            await bucket.stop_server()
            if bucket._address is not None:
                await bucket.wire.stop()


@contextlib.asynccontextmanager
async def local_store(
    bucket_count: int = 2,
    limits: Limits = TEST_LIMITS,
    platform: Platform = Platform(),  # noqa: B008 - it is immutable
) -> AsyncIterator[LocalStore]:
    """A store with all its buckets running, stopped at the end."""
    store = LocalStore(bucket_count, limits, platform)
    try:
        for bucket in store.buckets:
            await bucket.start()
        yield store
    finally:
        await store.stop()


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for a condition, looking again with every turn of the loop or so."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - conditions of all kinds; few set an event
            await asyncio.sleep(0.005)


async def _ending(test: Awaitable[None]) -> None:
    async with asyncio.timeout(_LONGEST_TEST_S):
        await test


def run_async(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on a fresh uvloop, as the product runs. One that hangs fails: uvloop swallows pytest's timeout."""
    import functools

    import uvloop

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_ending(test(*args, **kwargs)))

    return run
