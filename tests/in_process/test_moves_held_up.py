"""Moves that something is in the way of: what waits, what goes on, and what the status says."""

from __future__ import annotations

import asyncio

import pytest

from serve_app import placement
from serve_app.directory.directory import Directory
from serve_app.errors import Unavailable
from serve_app.settings import Limits
from serve_app.storage.facts import Totals, totals_fact
from tests.in_process.test_polling import stored_topologies
from tests.support.asking import get, put
from tests.support.local_store import local_store, run_async, until
from tests.support.memory_engine import new_bucket_engine
from tests.support.quick_moves import filled, move_quickly

#: Small windows: at this rate each is a tenth of it.
SLOW = Limits(request_timeout_s=1.5, disk_reserve_bytes=1000, move_bytes_per_s=20_000)
KEYS = [b"key-%03d" % n for n in range(200)]


@pytest.fixture(autouse=True)
def agree_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)


def phase(directory: Directory) -> str:
    assert directory.view.topology is not None
    return directory.view.topology.phase


async def moved(directory: Directory, count: int) -> None:
    await until(lambda: (phase(directory), directory.view.topology.bucket_count) == ("stable", count), 30)  # type: ignore[union-attr]


def waiting_for(directory: Directory, bucket_id: int) -> str:
    status = directory.view.statuses.get(bucket_id)
    return "" if status is None else status.waiting_for


@run_async
async def test_a_full_target_stops_the_move_and_loses_nothing_until_there_is_room() -> None:
    async with local_store(2, SLOW) as store:
        directory = await filled(store, 1, KEYS)
        store.buckets[1].engine.free = 10
        directory.configuration.follow(2)
        await until(lambda: "disk" in waiting_for(directory, 0), 20)
        assert phase(directory) == "moving"
        for key in KEYS:
            assert await get(directory, key) == b"v" * 100, "reads go on"
        assert len(store.buckets[0].records) + len(store.buckets[1].records) == len(KEYS)
        store.buckets[1].engine.free = 1 << 40
        await moved(directory, 2)
        for key in KEYS:
            assert await get(directory, key) == b"v" * 100


@run_async
async def test_a_target_that_is_away_holds_up_one_small_window_only() -> None:
    async with local_store(2, SLOW) as store:
        directory = await filled(store, 1, KEYS)
        directory.configuration.follow(2)
        await until(lambda: len(store.buckets[1].records) > 5, 20)
        await store.buckets[1].crash()
        await until(lambda: "bucket-1" in waiting_for(directory, 0), 20)
        cursor = store.buckets[0].server.bucket.standing.cursor  # type: ignore[union-attr]
        assert cursor is not None
        leaving = [key for key in KEYS if placement.bucket_of(key, 2) == 1]
        held = [key for key in leaving if cursor.in_window(key)]
        assert 0 < len(held) < len(leaving) / 2
        later = [key for key in KEYS if key >= cursor.intent_end]
        for key in later:
            await put(directory, key, b"new", "")  # not held
        assert await get(directory, held[0]) == b"v" * 100, "reads of the window go on"
        with pytest.raises(Unavailable, match="just being moved"):
            await put(directory, held[0], b"new", "")
        await store.buckets[1].start()
        await moved(directory, 2)
        for key in KEYS:
            assert await get(directory, key) == (b"new" if key in later else b"v" * 100)


@run_async
async def test_a_mover_that_has_met_the_wrong_storage_goes_on_looking_for_the_right_one() -> None:
    """Also where that vanishes without a word: no call is sent to it, so its silence would not be noticed."""
    async with local_store(2, SLOW) as store:
        directory = await filled(store, 1, KEYS)
        directory.configuration.follow(2)
        await until(lambda: len(store.buckets[1].records) > 5, 20)
        right, wire = store.buckets[1].engine, store.buckets[1].wire
        await store.buckets[1].come_back_with(new_bucket_engine(1))
        await until(lambda: "came back empty" in waiting_for(directory, 0), 20)
        before = wire.accepted
        await until(lambda: wire.accepted >= before + 3, 20)
        await store.buckets[1].come_back_with(right)
        await moved(directory, 2)


@run_async
async def test_a_fresh_directory_founds_no_store_beside_one_that_an_empty_bucket_tells_of() -> None:
    """Bucket 0 came back empty, bucket 2 is away, and bucket 1 holds no record, but belongs to a store."""
    async with local_store(3) as store:
        directory = await store.directory(3)
        topology = directory.view.topology
        assert topology is not None
        await until(lambda: stored_topologies(store) == {topology})
        await directory.stop()
        await store.buckets[2].crash()
        await store.buckets[0].come_back_with(new_bucket_engine(0))
        fresh = await store.directory(2, settled=False)
        await until(lambda: fresh.view.topology is not None, 20)
        assert fresh.view.topology == topology
        lost = next(key for key in KEYS if placement.bucket_of(key, 3) == 0)
        with pytest.raises(Unavailable, match="came back empty"):
            await put(fresh, lost, b"v", "")


@run_async
async def test_growing_waits_for_a_bucket_that_is_not_there_and_names_it() -> None:
    async with local_store(1) as store:
        directory = await filled(store, 1, KEYS)
        directory.configuration.follow(2)
        await until(lambda: "bucket-1 does not exist" in directory.configuration.problem, 20)
        assert phase(directory) == "stable"
        directory.configuration.follow(1)
        await until(lambda: directory.configuration.problem == "", 20)


@run_async
async def test_a_bucket_that_holds_records_may_not_join() -> None:
    async with local_store(2) as store:
        directory = await filled(store, 1, KEYS)
        store.buckets[1].engine.write([(b"stray", b"record")], [])
        store.buckets[1].engine.write([], [totals_fact(Totals(1, 100, 1))])
        await store.buckets[1].crash()
        await store.buckets[1].start()
        directory.configuration.follow(2)
        await until(lambda: "holds 1 records already" in directory.configuration.problem, 20)
        assert phase(directory) == "stable"


@run_async
async def test_directories_that_disagree_start_nothing() -> None:
    async with local_store(3) as store:
        first = await filled(store, 1, KEYS)
        second = await store.directory(1)
        first.configuration.follow(2)
        second.configuration.follow(3)
        await until(lambda: "[2, 3]" in first.configuration.problem, 20)
        assert phase(first) == "stable"
        second.configuration.follow(2)
        await moved(first, 2)


@run_async
async def test_a_change_asked_for_while_keys_move_is_taken_afterwards() -> None:
    async with local_store(3, SLOW.model_copy(update={"move_bytes_per_s": 4_000})) as store:
        directory = await filled(store, 1, KEYS)
        directory.configuration.follow(2)
        await until(lambda: phase(directory) == "moving", 20)
        directory.configuration.follow(3)
        await until(lambda: "is taken up when the move to 2 has ended" in directory.configuration.problem, 20)
        await moved(directory, 3)
        assert {placement.bucket_of(key, 3) for key in KEYS} == {
            bucket.bucket_id for bucket in store.buckets if bucket.records
        }


@run_async
async def test_a_source_that_died_in_its_window_goes_on_with_the_same_one() -> None:
    async with local_store(2, SLOW) as store:
        directory = await filled(store, 1, KEYS)
        store.buckets[1].engine.free = 10  # so that the window stays open
        directory.configuration.follow(2)
        await until(lambda: "disk" in waiting_for(directory, 0), 20)
        before = store.buckets[0].server.bucket.standing.cursor  # type: ignore[union-attr]
        assert before is not None
        assert before.intent_end
        await store.buckets[0].crash()
        await store.buckets[0].start()
        after = store.buckets[0].server.bucket.standing.cursor  # type: ignore[union-attr]
        assert after == before
        inside = next(key for key in KEYS if after.in_window(key) and placement.bucket_of(key, 2) == 1)
        written = asyncio.create_task(put(directory, inside, b"new", ""))
        await until(lambda: len(store.buckets[0].server.held) > 0, 20)  # type: ignore[union-attr]
        store.buckets[1].engine.free = 1 << 40
        await written
        await moved(directory, 2)
        assert await get(directory, inside) == b"new"
