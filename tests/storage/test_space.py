"""A full disk has room again when records are deleted: a real bucket on a small tmpfs, filled and emptied three times."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from serve_app.bucket.server import BucketServer
from serve_app.bucket.space import SpaceKeeper
from serve_app.errors import StorageFault, StorageUnusable
from serve_app.operations import Delete, Deleted, Operation, Put, Written
from serve_app.operations.body import A
from serve_app.settings import Limits
from serve_app.storage.facts import Totals, topology_fact
from serve_app.storage.folder import OpenedStorage, open_folder
from serve_app.topology import first_topology
from serve_app.wire import messages
from serve_app.wire.connection import ClientConnection
from tests.support.local_store import run_async, until
from tests.support.memory_engine import MemoryEngine
from tests.support.small_disk import MIB, free_bytes, needs_root, small_disk
from tests.support.traced_bucket import connected

DEADLINE_S = 60.0


class Client:
    """Puts until the bucket says that its disk is full, and deletes; this many operations at once."""

    def __init__(self, connection: ClientConnection, value_bytes: int) -> None:
        self._connection, self._value_bytes = connection, value_bytes
        self._at_once = max(1, min(512, MIB // value_bytes))

    async def _call(self, operation: Operation[A]) -> A | messages.Moved | messages.Refused:
        return await self._connection.call(operation, asyncio.get_running_loop().time() + DEADLINE_S)

    async def put(self, key: bytes) -> bool:
        """Whether it was taken; else the disk is full."""
        value = os.urandom(self._value_bytes)  # not to be compressed
        answer = await self._call(Put(key, value, ""))
        if isinstance(answer, Written):
            return True
        assert isinstance(answer, messages.Refused)
        assert answer.reason == "disk-full", answer
        return False

    async def fill(self, name: str) -> list[bytes]:
        """The keys that were taken until one was not."""
        taken: list[bytes] = []
        while True:
            keys = [b"%s-%d" % (name.encode(), len(taken) + n) for n in range(self._at_once)]
            done = await asyncio.gather(*map(self.put, keys))
            taken += [key for key, ok in zip(keys, done, strict=True) if ok]
            if not all(done):
                return taken

    async def delete(self, keys: list[bytes]) -> None:
        for start in range(0, len(keys), self._at_once):
            some = keys[start : start + self._at_once]
            answers = await asyncio.gather(*(self._call(Delete(key)) for key in some))
            assert all(isinstance(answer, Deleted) for answer in answers), answers

    async def put_when_there_is_room(self, key: bytes) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not await self.put(key):  # noqa: ASYNC110 - it is the bucket that is asked again
                await asyncio.sleep(0.1)


def open_bucket(folder: Path, limits: Limits) -> OpenedStorage:
    sizes = {"cache_bytes": limits.cache_bytes, "write_buffer_bytes": limits.write_buffer_bytes}
    storage = open_folder(folder, 0, **sizes)
    if storage.facts.topology is not None:
        return storage
    storage.engine.write([], [topology_fact(first_topology((storage.own.identity,)))])
    storage.close()
    return open_folder(folder, 0, **sizes)


@needs_root
@pytest.mark.parametrize(("value_bytes", "share"), [(100, 1.0), (1000, 0.5), (MIB, 1.0), (MIB, 0.5)])
def test_a_full_disk_has_room_again_when_records_are_deleted(tmp_path: Path, value_bytes: int, share: float) -> None:
    write_buffer = MIB if value_bytes < MIB else 4 * MIB
    reserve = 8 * write_buffer
    size = reserve + (4 if value_bytes < 1000 else 8) * write_buffer
    limits = Limits(
        disk_reserve_bytes=reserve,
        write_buffer_bytes=write_buffer,
        max_group_bytes=write_buffer,
        cache_bytes=MIB,
    )

    @run_async
    async def fill_and_delete() -> None:
        storage = open_bucket(disk / "bucket-0", limits)
        server = BucketServer(storage, limits, asyncio.get_running_loop(), failed=lambda error: pytest.fail(str(error)))
        server._space._pause_s = 0.05
        client = Client(await connected(await server.start("127.0.0.1")), value_bytes)
        expected = 0
        for turn in range(3):
            keys: list[bytes] = []
            while True:
                # What an attempt takes for a while is not what is held: it is full when nothing runs and nothing is taken.
                await until(lambda: server._space.idle, DEADLINE_S)
                some = await client.fill(f"turn{turn}-{len(keys)}")
                keys += some
                if not some:
                    await until(lambda: server._space.idle, DEADLINE_S)
                    if server.bucket._committer.lacks_space():
                        break
            assert server.bucket.totals.bytes > (size - reserve) / 2, "it was full before it held much"
            deleted = keys[: int(len(keys) * share)]
            await client.delete(deleted)
            await client.put_when_there_is_room(b"again-%d" % turn)
            expected += len(keys) - len(deleted) + 1
        await server.stop()
        assert server.bucket.totals.keys == expected == sum(1 for _ in storage.engine.scan())
        storage.close()

    disk = tmp_path / "disk"
    with small_disk(disk, size):
        fill_and_delete()


@needs_root
def test_there_is_no_attempt_where_there_is_no_room_for_one(tmp_path: Path) -> None:
    """A flush that fails stops all writes: on a disk with no space left at all it isn't tried."""
    disk = tmp_path / "disk"
    with small_disk(disk, 32 * MIB):
        storage = open_bucket(disk / "bucket-0", Limits(write_buffer_bytes=8 * MIB, cache_bytes=MIB))
        storage.engine.write([(b"k%d" % n, os.urandom(MIB)) for n in range(4)], [])
        filler = disk / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free_bytes(disk) - 2 * MIB)
        storage.engine.reclaim(1 << 40)
        storage.engine.write([(b"after", b"1")], [])
        filler.unlink()
        before = storage.engine.free_bytes()
        storage.engine.write([(b"k%d" % n, None) for n in range(4)], [])
        storage.engine.reclaim(1 << 40)
        give_up_s = time.monotonic() + DEADLINE_S  # RocksDB removes the log behind the scenes
        while storage.engine.free_bytes() < before + 3 * MIB:
            assert time.monotonic() < give_up_s, "the log's space came back"
        assert [key for key, _ in storage.engine.scan()] == [b"after"]
        storage.close()


class FullBucket:
    """A bucket on a full disk, as `SpaceKeeper` sees it."""

    def __init__(self) -> None:
        self.bucket_id = 0
        self.engine = MemoryEngine()
        self.engine.free = 10
        self.totals = Totals(5, 500, 5)
        self.disk_full = True
        self.errors: list[StorageFault] = []

    def note_error(self, error: StorageFault) -> None:
        self.errors.append(error)


@run_async
async def test_it_is_tried_again_only_when_there_is_less() -> None:
    bucket = FullBucket()
    keeper = SpaceKeeper(bucket, 100, asyncio.get_running_loop(), pause_s=0.001)
    keeper.look()
    await until(lambda: keeper.idle)
    assert bucket.engine.reclaims == 1
    for _ in range(3):
        keeper.look()
        assert keeper.idle, "nothing was deleted since"
    bucket.totals = Totals(4, 400, 6)
    keeper.look()
    await until(lambda: keeper.idle)
    assert bucket.engine.reclaims == 2
    bucket.disk_full = False
    keeper.look()
    bucket.disk_full = True
    keeper.look()
    await until(lambda: keeper.idle)
    assert bucket.engine.reclaims == 3, "it is full anew"


@run_async
async def test_what_is_deleted_during_an_attempt_is_not_forgotten() -> None:
    bucket = FullBucket()

    def reclaim(enough_bytes: int) -> None:
        bucket.engine.reclaims += 1
        if bucket.engine.reclaims < 3:
            bucket.totals = Totals(4, bucket.totals.bytes - 1, 6)
            raise StorageUnusable("no space left")  # nor does a failure end it

    bucket.engine.reclaim = reclaim  # type: ignore[method-assign]
    keeper = SpaceKeeper(bucket, 100, asyncio.get_running_loop(), pause_s=0.001)
    keeper.look()
    await until(lambda: keeper.idle)
    assert bucket.engine.reclaims == 3
    assert len(bucket.errors) == 2
    await keeper.stop()


@run_async
async def test_it_goes_on_until_twice_the_reserve_is_free() -> None:
    bucket = FullBucket()
    bucket.engine.free = 150
    asked: list[int] = []

    def reclaim(enough_bytes: int) -> None:
        asked.append(enough_bytes)
        bucket.engine.free = enough_bytes

    bucket.engine.reclaim = reclaim  # type: ignore[method-assign]
    keeper = SpaceKeeper(bucket, 100, asyncio.get_running_loop(), pause_s=0.001)
    keeper.look()
    await until(lambda: keeper.idle)
    assert asked == [200]


@run_async
async def test_an_attempt_that_runs_has_ended_before_the_engine_may_be_closed() -> None:
    bucket = FullBucket()
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def reclaim(enough_bytes: int) -> None:
        begun.set()
        go_on.wait(DEADLINE_S)
        ended.set()

    bucket.engine.reclaim = reclaim  # type: ignore[method-assign]
    loop = asyncio.get_running_loop()
    keeper = SpaceKeeper(bucket, 100, loop, pause_s=0.001)
    keeper.look()
    await until(begun.is_set)
    loop.call_later(0.1, go_on.set)
    await keeper.stop()
    assert ended.is_set()
