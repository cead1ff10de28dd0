"""Founding a store: once, and only where every bucket there is has been heard and none belongs to one."""

from __future__ import annotations

import asyncio

import pytest

from serve_app.bucket import server
from serve_app.cli.buckets import Buckets
from serve_app.directory import census
from serve_app.errors import Unavailable
from serve_app.operations import Get
from serve_app.resharding.mover import Mover
from serve_app.settings import Limits
from serve_app.storage.facts import Totals, totals_fact
from serve_app.topology import Topology
from serve_app.wire.messages import Install
from tests.in_process.test_polling import IMPATIENT, stored_topologies
from tests.support.asking import get, keys_of, put
from tests.support.local_store import LocalStore, local_store, run_async, until
from tests.support.memory_engine import new_bucket_engine


async def left_with_an_empty_bucket_0(store: LocalStore) -> Topology:
    """Found a store, end its directory, take all buckets away but bucket 0, and that one's volume; what the topology was."""
    directory = await store.directory()
    topology = directory.view.topology
    assert topology is not None
    await until(lambda: stored_topologies(store) == {topology})
    await directory.stop()
    for away in store.buckets[1:]:
        await away.crash()
    await store.buckets[0].come_back_with(new_bucket_engine(0))
    return topology


@run_async
async def test_a_new_store_is_founded_once_all_its_buckets_are_there() -> None:
    async with local_store(3, IMPATIENT) as store:
        await store.buckets[2].crash()
        directory = await store.directory(settled=False)
        with pytest.raises(Unavailable, match="bucket-2"):
            await put(directory, b"k", b"v", "")
        assert stored_topologies(store) == {None}
        await store.buckets[2].start()
        await until(lambda: directory.view.topology is not None)
        topology = directory.view.topology
        assert topology is not None
        assert (topology.epoch, topology.bucket_count, topology.phase) == (1, 3, "stable")
        assert topology.identities == tuple(b.server.bucket.identity for b in store.buckets)  # type: ignore[union-attr]
        await until(lambda: stored_topologies(store) == {topology})


@run_async
async def test_directories_that_start_at_once_found_one_store() -> None:
    async with local_store(4) as store:
        directories = await asyncio.gather(*(store.directory() for _ in range(6)))
        assert len({directory.view.topology for directory in directories}) == 1
        await asyncio.gather(*(put(d, b"key%d" % n, b"v", "") for n, d in enumerate(directories)))


@run_async
async def test_directories_configured_differently_agree_on_the_first_to_found() -> None:
    async with local_store(3) as store:
        two, three = await asyncio.gather(store.directory(2), store.directory(3))
        assert two.view.topology == three.view.topology
        assert two.view.topology is not None
        count = two.view.topology.bucket_count
        refused = three if count == 2 else two
        await until(lambda: bool(refused.configuration.problem))
        assert f"the store has {count} buckets" in refused.configuration.problem
        for n in range(20):
            await put(refused, b"key%d" % n, b"v", "")
            get_it = Get(b"key%d" % n)
            assert (await two.carry_out(get_it)).bucket_id == (await three.carry_out(get_it)).bucket_id


@run_async
async def test_records_without_a_store_are_not_made_a_new_store() -> None:
    async with local_store(2, IMPATIENT) as store:
        store.buckets[1].engine.write([(b"k", b"raw")], [totals_fact(Totals(1, 100, 1))])
        await store.buckets[1].crash()
        await store.buckets[1].start()
        directory = await store.directory(settled=False)
        with pytest.raises(Unavailable, match=r"bucket-1 \(holds records but knows of no store\)"):
            await get(directory, b"k")


@run_async
async def test_an_empty_bucket_0_beside_other_data_founds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of three whose bucket 0 came back empty, all of Ray started anew with a count of one: the folders tell."""
    async with local_store(3, IMPATIENT) as store:
        topology = await left_with_an_empty_bucket_0(store)
        store.buckets[0].server.bucket.siblings = (1, 2)  # type: ignore[union-attr]

        async def only_bucket_0() -> list[int]:
            return [0]

        monkeypatch.setattr(store, "ids", only_bucket_0)
        fresh = await store.directory(1, settled=False)
        with pytest.raises(Unavailable, match=r"waiting for bucket-1 \(.*, bucket-2 \("):
            await get(fresh, b"k")
        assert stored_topologies(store) == {None}
        for back in store.buckets[1:]:
            await back.start()
        await until(lambda: fresh.view.topology == topology)


@run_async
async def test_a_lowered_count_does_not_wait_for_a_bucket_that_never_was() -> None:
    """Configured with one too many at first: nobody has a place for it, so nobody makes it."""
    async with local_store(2, IMPATIENT) as store:
        directory = await store.directory(3, settled=False)
        await until(lambda: "bucket-2" in directory.what_is_missing())
        assert stored_topologies(store) == {None}
        directory.configuration.follow(2)
        await until(lambda: directory.view.topology is not None)
        await until(lambda: directory.view.links.keys() == {0, 1})


@run_async
async def test_a_bucket_that_was_only_asked_ends_when_the_store_is_founded_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_LEFT_ALONE_S", 2.0)
    async with local_store(3) as store:
        directory = await store.directory(2)
        await until(lambda: store.buckets[2].retired)
        assert not store.buckets[0].retired
        assert not store.buckets[1].retired
        assert directory.view.links.keys() == {0, 1}


@run_async
async def test_a_bucket_of_no_store_that_was_told_of_another_storage_ends_like_any_that_nobody_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A word from the past reaches the new, empty volume of a bucket that the store has gone on without."""
    rests = 0
    rest = Mover._rest

    async def counted(self: Mover, topology: Topology | None) -> None:
        nonlocal rests
        rests += self._bucket.fault != ""
        await rest(self, topology)

    monkeypatch.setattr(Mover, "_rest", counted)
    async with local_store(3) as store:
        directory = await store.directory(2)
        assert directory.view.topology is not None
        past = Topology(7, 3, 3, directory.view.topology.store_id, (*directory.view.topology.identities, "before"))
        async with Buckets(store) as buckets:
            with pytest.raises(Unavailable, match="came back empty"):
                await buckets.changed_status(2, Install(past), 5.0)
        await until(lambda: rests > 1)  # it has looked at what it was told
        monkeypatch.setattr(server, "_LEFT_ALONE_S", 0.5)
        await until(lambda: store.buckets[2].retired)


@run_async
async def test_what_is_missing_is_said_anew_when_the_cluster_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_store(3, IMPATIENT) as store:
        ids, asked = store.ids, 0
        await store.buckets[2].crash()

        async def failing_once() -> list[int]:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise Unavailable("Ray does not say")
            return await ids()

        monkeypatch.setattr(store, "ids", failing_once)
        directory = await store.directory(2, settled=False)
        await until(lambda: directory.what_is_missing() == "Ray does not say")
        await until(lambda: directory.what_is_missing().startswith("waiting for bucket-2"))


@run_async
async def test_no_store_is_founded_before_buckets_beyond_the_count_are_heard() -> None:
    """A store of three whose bucket 0 came back empty, its directories started anew with a count of one."""
    async with local_store(3, IMPATIENT) as store:
        topology = await left_with_an_empty_bucket_0(store)
        fresh = await store.directory(1, settled=False)
        await until(lambda: "bucket-1" in fresh.what_is_missing() and "bucket-2" in fresh.what_is_missing())
        with pytest.raises(Unavailable, match="waiting for bucket-1"):
            await put(fresh, b"k", b"v", "")
        assert stored_topologies(store) == {None}
        await store.buckets[2].start()
        await until(lambda: fresh.view.topology is not None)
        assert fresh.view.topology == topology
        with pytest.raises(Unavailable, match="came back empty"):
            await put(fresh, keys_of(0, 3)[0], b"v", "")
        await until(
            lambda: "about to move to 1; waiting: bucket-0, which begins and ends moves" in fresh.configuration.problem
        )


@run_async
async def test_no_store_is_founded_beside_a_bucket_that_has_appeared_since_it_was_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with local_store(3, IMPATIENT) as store:
        topology = await left_with_an_empty_bucket_0(store)
        ids, asked = store.ids, 0

        async def appearing() -> list[int]:
            nonlocal asked
            asked += 1
            return [0] if asked == 1 else await ids()

        monkeypatch.setattr(store, "ids", appearing)
        fresh = await store.directory(1, settled=False)
        await until(lambda: asked > 1)
        await until(lambda: "bucket-2" in fresh.what_is_missing())
        assert stored_topologies(store) == {None}
        await store.buckets[2].start()
        await until(lambda: fresh.view.topology == topology)


@run_async
async def test_no_store_is_founded_where_nobody_says_which_buckets_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_store(2, IMPATIENT) as store:
        ids, asked = store.ids, 0

        async def failing() -> list[int]:
            nonlocal asked
            asked += 1
            if asked < 4:
                raise Unavailable("Ray does not say")
            return await ids()

        monkeypatch.setattr(store, "ids", failing)
        monkeypatch.setattr(census, "_ASK_EVERY_S", 0.01)
        directory = await store.directory(1, settled=False)
        await until(lambda: directory.what_is_missing() == "Ray does not say")
        assert stored_topologies(store) == {None}
        await until(lambda: directory.view.topology is not None)
        assert asked > 3
        await until(lambda: directory.view.links.keys() == {0})


@run_async
async def test_who_gave_up_waiting_for_the_store_keeps_nobody_else_from_it() -> None:
    async with local_store(1, Limits(request_timeout_s=0.1, max_waiting_for_topology=1)) as store:
        directory = await store.directory(2, settled=False)
        for _ in range(2):
            with pytest.raises(Unavailable, match="the store is not up yet: ") as refused:
                await get(directory, b"k")
            assert "many wait" not in str(refused.value)
