"""Moving keys between buckets while they are used: the real servers on one loop, on memory."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from serve_app import placement
from serve_app.bucket.bucket import Bucket
from serve_app.bucket.move_writes import WindowWrite
from serve_app.bucket.operation_write import OperationWrite
from serve_app.bucket.queued import CalledWrite
from serve_app.directory.directory import Directory
from serve_app.errors import StoreError
from serve_app.operations import Answer, Body, Delete, Deleted, Missing
from serve_app.records import Record, encode
from serve_app.resharding.mover import Mover
from serve_app.resharding.parts import Part
from serve_app.topology import Topology
from serve_app.wire import messages
from tests.support.asking import delete, get, put
from tests.support.commits import NoCaller, nobody_is_told
from tests.support.local_store import TEST_LIMITS, LocalStore, MemoryStorage, local_store, run_async, until
from tests.support.memory_engine import new_bucket_engine
from tests.support.quick_moves import move_quickly, settled


@pytest.fixture(autouse=True)
def agree_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)


def at_home(store: LocalStore, bucket_count: int) -> dict[bytes, bytes]:
    """All records of the store, each checked to be in its home and nowhere else."""
    found: dict[bytes, bytes] = {}
    for bucket in store.buckets:
        for key, raw in bucket.records.items():
            assert placement.bucket_of(key, bucket_count) == bucket.bucket_id, (
                f"{key!r} is in bucket-{bucket.bucket_id}"
            )
            assert key not in found
            found[key] = raw
    return found


async def moved(directory: Directory, count: int) -> None:
    await until(lambda: settled(directory, count), 20)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 3), (3, 2), (5, 2), (2, 8), (8, 1)])
@run_async
async def test_keys_move_both_ways(before: int, after: int) -> None:
    async with local_store(max(before, after)) as store:
        directory = await store.directory(before)
        for n in range(300):
            await put(directory, b"key-%d" % n, b"value-%d" % n, "text/plain")
        directory.configuration.follow(after)
        await moved(directory, after)
        assert "about to move" not in directory.configuration.problem, (
            "what is said of the count is of the same topology"
        )
        assert len(at_home(store, after)) == 300
        for n in range(300):
            assert await get(directory, b"key-%d" % n) == b"value-%d" % n
        await until(lambda: all(bucket.retired for bucket in store.buckets[after:before]))


@run_async
async def test_clients_at_work_lose_nothing() -> None:
    """One writer per key, from two directories, while the store goes from 2 to 5 to 3 to 1 buckets."""
    async with local_store(5) as store:
        directories = [await store.directory(2) for _ in range(2)]
        written: dict[bytes, bytes | None] = {}
        going = True

        async def client(number: int) -> None:
            chance = random.Random(number)
            sequence = 0
            while going:
                key = b"%d-%d" % (number, chance.randrange(30))
                directory = chance.choice(directories)
                sequence += 1
                try:
                    if chance.random() < 0.2:
                        assert await delete(directory, key) == written.get(key)
                        written[key] = None
                    else:
                        await put(directory, key, b"%d" % sequence, "text/plain")
                        written[key] = b"%d" % sequence
                    other = chance.choice(directories)
                    assert await get(other, key) == written[key]
                except StoreError as error:  # nothing fails here: nobody dies
                    raise AssertionError(f"{key!r}: {error}") from error
                await asyncio.sleep(0)

        clients = [asyncio.create_task(client(number)) for number in range(8)]
        for count in (5, 3, 1):
            for directory in directories:
                directory.configuration.follow(count)
            await moved(directories[0], count)
        going = False
        await asyncio.gather(*clients)
        for key, value in written.items():
            assert await get(directories[0], key) == value
        kept = {key for key, value in written.items() if value is not None}
        assert set(at_home(store, 1)) == kept


def test_a_window_that_comes_again_does_not_undo_what_clients_did_since() -> None:
    storage = MemoryStorage(new_bucket_engine(1), 1)
    moving = Topology(2, 1, 2, "store", ("zero", storage.own.identity), move_epoch=2)
    storage.facts = replace(storage.facts, topology=moving)
    bucket = Bucket(storage, TEST_LIMITS, incarnation="1", on_group_done=nobody_is_told, failed=lambda error: None)
    key = next(key for key in (b"k%d" % number for number in range(100)) if placement.bucket_of(key, 2) == 1)
    end = key + b"\0"

    def decided(kind: type[CalledWrite], body: Body[Any]) -> Answer | None:
        write = kind(bucket.state, messages.Envelope(1, 1000, 2, body), NoCaller(), 1e18, 0.0)
        bucket._committer.write(bucket._committer.decide([write]))
        return write.answer

    window = messages.Window(0, end, 7, [(key, encode(Record(b"v", "", 7, 1, 1)))])
    assert decided(WindowWrite, window) == messages.WindowWritten()
    assert isinstance(decided(OperationWrite, Delete(key)), Deleted)
    assert decided(WindowWrite, window) == messages.WindowWritten()
    assert decided(OperationWrite, Delete(key)) == Missing()


@run_async
async def test_a_window_is_given_as_long_as_its_size_may_take() -> None:
    """A large one over a slow line would expire again and again, and the move never end."""
    asked: list[tuple[int, float]] = []

    class SlowPeers:
        async def ask(self, home: int, body: messages.Window, timeout_s: float, epoch: int) -> messages.WindowWritten:
            asked.append((body.payload_bytes, timeout_s))
            return messages.WindowWritten()

    class Source:
        bucket_id = 0

    mover = Mover(Source(), SlowPeers(), 1 << 20, lambda: None)  # type: ignore[arg-type]
    moving = Topology(2, 1, 2, "store", ("zero", "one"), move_epoch=2)
    await mover._give(moving, 1, [Part(b"k", [], []), Part(b"l", [(b"k", b"x" * 8_000_000)], [])], 1)
    (_, empty_s), (size, full_s) = asked
    assert full_s >= empty_s + size / (1 << 20)
