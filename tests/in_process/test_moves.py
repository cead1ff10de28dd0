"""Moving keys between buckets while they are used: the real servers on one loop, on memory."""

from __future__ import annotations

import asyncio
import random

import pytest

from serve_app import placement
from serve_app.directory.directory import Directory
from serve_app.errors import StoreError
from tests.support.asking import delete, get, put
from tests.support.local_store import LocalStore, local_store, run_async, until
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
