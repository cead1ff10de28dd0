"""The bucket as its mover and coordinator see it: the interface of `serve_app.resharding`, on a real bucket.

Every change goes through the bucket's writer, and everything that reads the disk runs where reads that wait for it run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from serve_app import placement
from serve_app.bucket import move_operations
from serve_app.cursor import END, Cursor
from serve_app.resharding.source import Records, Scanned
from serve_app.storage.group import Write
from serve_app.topology import Topology

if TYPE_CHECKING:
    from serve_app.bucket.bucket import Bucket

T = TypeVar("T")
#: A scan looks at no more than this before it hands back what it has, of records that stay too: others of this process want
#: to run, and the thread.
_MAX_SCANNED = 20_000
_MAX_SCANNED_BYTES = 64 * 1024 * 1024


class BucketSource:
    """Implements `resharding.source.Source`."""

    def __init__(
        self,
        bucket: Bucket,
        loop: asyncio.AbstractEventLoop,
        readers: Executor,
        release_held: Callable[[], None],
    ) -> None:
        self._bucket = bucket
        self._loop = loop
        self._readers = readers
        self._release_held = release_held
        self.bucket_id = bucket.bucket_id
        #: Set when the topology has changed; whoever waits clears it first.
        self.changed = asyncio.Event()

    @property
    def topology(self) -> Topology | None:
        return self._bucket.topology

    @property
    def cursor(self) -> Cursor | None:
        return self._bucket.cursor

    @property
    def fault(self) -> str:
        return self._bucket.fault

    @property
    def revision(self) -> int:
        return self._bucket.totals.revision

    @property
    def operations(self) -> int:
        return sum(latency.count for latency in self._bucket.stats.latency_s.values())

    def wait_for(self, what: str) -> None:
        self._bucket.wait_for("mover", what)

    async def watch(self, start: bytes) -> None:
        await self._commit(lambda done: move_operations.WatchOperation(self._bucket, done, start))

    async def scan(self, topology: Topology, start: bytes, end: bytes, max_bytes: int) -> Scanned:
        return await self._in_thread(lambda: self._scan(topology, start, end, max_bytes))

    async def intend(self, before: Cursor, end: bytes) -> tuple[Cursor, bool]:
        cursor = msgspec.structs.replace(before, intent_end=end)
        operation = await self._commit(lambda done: move_operations.IntentOperation(self._bucket, done, before, cursor))
        return cursor, operation.touched

    def hold_reads(self) -> None:
        self._bucket.hold_reads(True)

    async def advance(self, before: Cursor, records: Records) -> None:
        cursor = msgspec.structs.replace(
            before,
            position=before.intent_end,
            intent_end=b"",
            moved_keys=before.moved_keys + len(records),
            moved_bytes=before.moved_bytes + sum(len(key) + len(raw) for key, raw in records),
        )
        try:
            await self._commit(
                lambda done: move_operations.AdvanceOperation(self._bucket, done, before, cursor, records)
            )
        finally:
            self.release()

    def release(self) -> None:
        self._bucket.hold_reads(False)
        self._release_held()

    async def commit_topology(self, before: Topology, new: Topology) -> None:
        await self._commit(lambda done: move_operations.CommitOperation(self._bucket, done, before, new))

    async def take_topology(self, new: Topology) -> None:
        before = self.topology
        if before is not None and new.epoch > before.epoch:
            await self.commit_topology(before, new)

    # -- how ---------------------------------------------------------------------------------------------------------

    async def _commit(self, make: Callable[[asyncio.Future[None]], Any]) -> Any:
        done: asyncio.Future[None] = self._loop.create_future()
        operation = make(done)
        self._bucket.writer.reserve_own(operation)
        group: list[Write] = [operation]
        self._bucket.writer.submit(group)
        await done
        return operation

    async def _in_thread(self, work: Callable[[], T]) -> T:
        done: asyncio.Future[T] = self._loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]

        def run() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as caught:
                error = caught
            self._loop.call_soon_threadsafe(settle, result, error)

        self._readers.submit(run)
        return await done

    def _scan(self, topology: Topology, start: bytes, end: bytes, max_bytes: int) -> Scanned:
        old_count, new_count, own = topology.bucket_count, topology.target_count, self.bucket_id
        records: list[tuple[bytes, bytes]] = []
        size = seen = 0
        for scanned, (key, raw) in enumerate(self._bucket.engine.scan(start, None if end == END else end)):
            if size >= max_bytes or scanned >= _MAX_SCANNED or seen >= _MAX_SCANNED_BYTES:
                return Scanned(records, key)
            seen += len(raw)
            hashed = placement.stable_hash(key)
            if hashed % old_count == own and hashed % new_count != own:
                records.append((key, raw))
                size += len(key) + len(raw)
        return Scanned(records, end)
