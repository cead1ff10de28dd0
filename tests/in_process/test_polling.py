"""How directories learn the topology from the buckets: coming back, several at once, volumes that are not what they were."""

from __future__ import annotations

import asyncio

import pytest

from serve_app.errors import Unavailable
from serve_app.settings import Limits
from serve_app.storage.facts import topology_fact
from serve_app.topology import Topology
from tests.support.asking import delete, get, keys_of, put
from tests.support.local_store import LocalStore, local_store, run_async, until
from tests.support.memory_engine import MemoryEngine, new_bucket_engine

IMPATIENT = Limits(request_timeout_s=0.5, disk_reserve_bytes=0)


def stored_topologies(store: LocalStore) -> set[Topology | None]:
    return {bucket.server.bucket.standing.topology for bucket in store.buckets if bucket.server is not None}


@run_async
async def test_a_store_comes_back_as_it_was_whatever_is_configured() -> None:
    async with local_store(3) as store:
        first = await store.directory(3)
        for n in range(30):
            await put(first, b"key%d" % n, b"v%d" % n, "")
        for bucket in store.buckets:
            await bucket.crash()
        for bucket in store.buckets:
            await bucket.start()
        for configured in (1, 2, 3, 8):
            again = await store.directory(configured)
            assert again.view.topology == first.view.topology
            for n in range(30):
                assert await get(again, b"key%d" % n) == b"v%d" % n
            if configured != 3:
                await until(lambda again=again: bool(again.configuration.problem))  # type: ignore[misc]
        assert first.view.topology == again.view.topology, "directories that disagree move nothing"
        assert max(store.resolved) == 2, "no bucket beyond the store's was asked for"


@run_async
async def test_a_changed_configuration_is_taken_and_a_bad_one_is_not() -> None:
    async with local_store(2) as store:
        directory = await store.directory(2)
        directory.configuration.refuse("user_config.bucket_count: Input should be a valid integer")
        assert "valid integer" in directory.configuration.problem
        directory.configuration.follow(3)
        await until(lambda: "about to move to 3" in directory.configuration.problem)
        directory.configuration.follow(2)
        await until(lambda: directory.configuration.problem == "")


@run_async
async def test_the_topology_is_known_without_bucket_0() -> None:
    async with local_store(2) as store:
        founder = await store.directory()
        await put(founder, keys_of(1)[0], b"v", "")
        await until(lambda: len(stored_topologies(store)) == 1)
        await store.buckets[0].crash()
        late = await store.directory(settled=False)
        assert await get(late, keys_of(1)[0]) == b"v"
        assert late.view.topology == founder.view.topology


@run_async
async def test_a_bucket_that_came_back_empty_is_never_served() -> None:
    async with local_store(2, IMPATIENT) as store:
        directory = await store.directory()
        lost, kept = keys_of(1)[0], keys_of(0)[0]
        await put(directory, lost, b"v", "")
        await put(directory, kept, b"v", "")
        await store.buckets[1].come_back_with(new_bucket_engine(1))  # the volume came back empty
        await until(lambda: directory.view.link(1).wrong_storage)
        fresh = await store.directory(settled=False)
        await until(lambda: fresh.view.topology is not None and fresh.view.link(1).wrong_storage)
        for asked in (directory, fresh):
            for operation in (get(asked, lost), put(asked, lost, b"w", ""), delete(asked, lost)):
                with pytest.raises(Unavailable, match="came back empty"):
                    await operation
            assert await get(asked, kept) == b"v"
        assert store.buckets[1].records == {}
        await until(lambda: bool(store.buckets[1].server.bucket.standing.fault))  # type: ignore[union-attr]


@run_async
async def test_bucket_0_that_came_back_empty_founds_no_new_store() -> None:
    async with local_store(2, IMPATIENT) as store:
        directory = await store.directory()
        await put(directory, keys_of(1)[0], b"v", "")
        await until(lambda: len(stored_topologies(store)) == 1)
        topology = directory.view.topology
        await store.buckets[0].come_back_with(new_bucket_engine(0))
        fresh = await store.directory(settled=False)
        await until(lambda: fresh.view.topology is not None)
        assert fresh.view.topology == topology
        assert await get(fresh, keys_of(1)[0]) == b"v"
        with pytest.raises(Unavailable, match="came back empty"):
            await get(fresh, keys_of(0)[0])


@run_async
async def test_another_stores_volume_is_never_served() -> None:
    async with local_store(2) as other:
        theirs = await other.directory()
        await put(theirs, keys_of(1)[0], b"of the other store", "")
        await until(lambda: len(stored_topologies(other)) == 1)
        foreign = other.buckets[1].engine.crash()
    async with local_store(2, IMPATIENT) as store:
        directory = await store.directory()
        await put(directory, keys_of(1)[0], b"ours", "")
        await store.buckets[1].come_back_with(foreign)
        await until(lambda: directory.view.link(1).wrong_storage)
        for asked in (directory, await store.directory(settled=False)):
            with pytest.raises(Unavailable):
                await get(asked, keys_of(1)[0])
            with pytest.raises(Unavailable):
                await put(asked, keys_of(1)[0], b"x", "")
        assert len(store.buckets[1].records) == 1, "the foreign volume is left as it was"


@run_async
async def test_volumes_of_different_stores_without_bucket_0_are_not_guessed_about() -> None:
    async with local_store(3, IMPATIENT) as store:
        for bucket_id, name in ((1, "one"), (2, "two")):
            bucket = store.buckets[bucket_id]
            identities = tuple(b.server.bucket.identity for b in store.buckets)  # type: ignore[union-attr]
            bucket.engine.write([], [topology_fact(Topology(1, 3, 3, name, identities))])
            await bucket.crash()
            await bucket.start()
        await store.buckets[0].crash()
        directory = await store.directory(settled=False)
        await until(lambda: {1, 2} <= set(directory.view.statuses))
        with pytest.raises(Unavailable):
            await get(directory, b"k")
        assert directory.view.topology is None


async def _foreign_volume(bucket_id: int, bucket_count: int) -> MemoryEngine:
    """A bucket's volume of another store, with a record in it."""
    async with local_store(bucket_count) as other:
        directory = await other.directory()
        await put(directory, keys_of(bucket_id, bucket_count)[0], b"of the other store", "")
        await until(lambda: len(stored_topologies(other)) == 1)
        return other.buckets[bucket_id].engine.crash()


@pytest.mark.parametrize("of_buckets", [3, 2, 1])
@run_async
async def test_a_foreign_bucket_0_is_outvoted_and_its_keys_alone_are_refused(of_buckets: int) -> None:
    foreign = await _foreign_volume(0, of_buckets)
    async with local_store(3, IMPATIENT) as store:
        directory = await store.directory()
        for bucket_id in range(3):
            await put(directory, keys_of(bucket_id, 3)[0], b"ours", "")
        await until(lambda: len(stored_topologies(store)) == 1)
        await directory.stop()
        ours = store.buckets[0].engine.crash()
        await store.buckets[0].come_back_with(foreign)
        fresh = await store.directory(settled=False)
        await until(lambda: fresh.view.topology is not None)
        for bucket_id in (1, 2):
            assert await get(fresh, keys_of(bucket_id, 3)[0]) == b"ours"
        for operation in (get(fresh, keys_of(0, 3)[0]), put(fresh, keys_of(0, 3)[0], b"x", "")):
            with pytest.raises(Unavailable, match="is another one"):
                await operation
        await store.buckets[0].come_back_with(ours)
        await until(lambda: fresh.view.link(0).connected and not fresh.view.link(0).wrong_storage)
        assert await get(fresh, keys_of(0, 3)[0]) == b"ours", "the right volume is back, and so are its keys"


@run_async
async def test_of_two_buckets_of_two_stores_neither_is_served() -> None:
    foreign = await _foreign_volume(0, 2)
    async with local_store(2, IMPATIENT) as store:
        directory = await store.directory()
        await put(directory, keys_of(1)[0], b"ours", "")
        await until(lambda: len(stored_topologies(store)) == 1)
        await directory.stop()
        ours = store.buckets[0].engine.crash()
        await store.buckets[0].come_back_with(foreign)
        fresh = await store.directory(settled=False)
        for key in (keys_of(0)[0], keys_of(1)[0]):
            for operation in (get(fresh, key), put(fresh, key, b"x", "")):
                with pytest.raises(Unavailable, match="different stores"):
                    await operation
        await store.buckets[0].come_back_with(ours)
        await until(lambda: fresh.view.topology is not None)
        assert await get(fresh, keys_of(1)[0]) == b"ours", "no bucket was hurt by the stranger"


@run_async
async def test_links_that_appear_while_buckets_are_asked_do_no_harm() -> None:
    async with local_store(3) as store:
        directory = await store.directory(settled=False)
        while directory.view.topology is None:
            await asyncio.gather(*(directory.polling._inspect_all() for _ in range(3)))
