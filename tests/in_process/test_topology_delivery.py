"""How a bucket learns the topology from a directory that finds it behind, and what it does not take."""

from __future__ import annotations

import asyncio
import threading

import pytest

from serve_app.bucket.bucket import Bucket
from serve_app.bucket.standing import Served, Standing
from serve_app.errors import Unavailable
from serve_app.settings import Limits
from serve_app.storage.engine import Changes
from serve_app.storage.facts import read_bucket_facts
from serve_app.topology import Topology
from serve_app.wire import messages
from tests.support.asking import get, keys_of, put
from tests.support.local_store import local_store, run_async, until


def forget_the_store(bucket: Bucket) -> None:
    bucket.state.standing = Standing(None, None, {})
    bucket._served = Served(bucket.state.standing)


@run_async
async def test_a_bucket_behind_is_brought_up_to_date_by_whoever_finds_out() -> None:
    async with local_store(2) as store:
        directory = await store.directory()
        await put(directory, keys_of(1)[0], b"v", "")
        bucket = store.buckets[1].server.bucket  # type: ignore[union-attr]
        forget_the_store(bucket)
        answers = await asyncio.gather(*(get(directory, keys_of(1)[0]) for _ in range(50)))
        assert set(answers) == {b"v"}
        assert bucket.standing.topology == directory.view.topology


@run_async
async def test_an_older_topology_is_not_taken() -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        topology = directory.view.topology
        assert topology is not None
        newer = Topology(5, 1, 1, topology.store_id, topology.identities)
        link = directory.view.link(0)
        assert (await link.ask(messages.Install(newer), 2.0)).topology == newer
        assert (await link.ask(messages.Install(topology), 2.0)).topology == newer
        await until(lambda: directory.view.topology == newer)


@run_async
async def test_another_stores_topology_is_not_taken_whatever_its_epoch() -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        ours = directory.view.topology
        assert ours is not None
        await put(directory, b"k", b"v", "")
        directory.view.adopt(Topology(99, 1, 1, "another store", ours.identities), None)
        assert directory.view.topology == ours
        assert await get(directory, b"k") == b"v"


@run_async
async def test_a_topology_that_is_known_already_changes_nothing() -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        bucket = store.buckets[0].server.bucket  # type: ignore[union-attr]
        await until(lambda: bucket.standing.topology == directory.view.topology)
        before = (bucket.standing, bucket.totals)
        assert before[0].topology is not None
        status = await directory.view.link(0).ask(messages.Install(before[0].topology), 2.0)
        assert status.topology == before[0].topology
        assert (bucket.standing, bucket.totals) == before


@run_async
async def test_a_late_install_does_a_healthy_bucket_no_harm() -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        await put(directory, b"k", b"v", "")
        topology = directory.view.topology
        assert topology is not None
        link = directory.view.link(0)
        newer = Topology(5, 1, 1, topology.store_id, topology.identities)
        await link.ask(messages.Install(newer), 2.0)
        late = Topology(3, 1, 1, topology.store_id, ("someone who was replaced since",))
        status = await link.ask(messages.Install(late), 2.0)
        assert status.fault == ""
        assert status.topology == newer
        for wrong in (Topology(9, 1, 1, "another store", topology.identities),):
            with pytest.raises(Unavailable, match="belongs to store"):
                await link.ask(messages.Install(wrong), 2.0)
        bucket = store.buckets[0].server.bucket  # type: ignore[union-attr]
        before = bucket.standing
        forget_the_store(bucket)
        with pytest.raises(Unavailable, match="holds records but knows of no store"):
            await link.ask(messages.Establish(("stale",)), 2.0)
        bucket.state.standing = before
        bucket.serve_by(before)
        assert await get(directory, b"k") == b"v"


@run_async
async def test_a_bucket_that_cannot_be_told_the_topology_is_unavailable_not_a_mistake() -> None:
    async with local_store(2, Limits(request_timeout_s=0.5, disk_reserve_bytes=0)) as store:
        directory = await store.directory()
        inner = store.buckets[1].server.bucket  # type: ignore[union-attr]
        forget_the_store(inner)
        release = threading.Event()
        write = store.buckets[1].engine.write

        def held(records: Changes, facts: Changes) -> None:
            release.wait(10)
            write(records, facts)

        store.buckets[1].engine.write = held  # type: ignore[method-assign]
        reads = [asyncio.create_task(get(directory, keys_of(1)[0])) for _ in range(5)]
        errors = await asyncio.gather(*reads, return_exceptions=True)
        release.set()
        assert all(isinstance(error, Unavailable) for error in errors), errors


@run_async
async def test_a_bucket_that_is_let_go_before_it_is_told_is_no_mistake() -> None:
    """The reconciling task begins a turn of the loop after it was asked for."""
    async with local_store(2) as store:
        directory = await store.directory()
        topology = directory.view.topology
        assert topology is not None
        telling = asyncio.create_task(directory._delivery.reconcile(1, None, asyncio.get_running_loop().time() + 5))
        await asyncio.sleep(0)  # it has asked for the task
        link = directory.view.links.pop(1)
        await telling
        directory.view.links[1] = link


@run_async
async def test_a_bucket_is_told_once_more_after_it_could_not_be_told() -> None:
    async with local_store(2) as store:
        directory = await store.directory()
        topology = directory.view.topology
        assert topology is not None
        link = directory.view.link(1)
        deadline_s = asyncio.get_running_loop().time() + 5
        store.buckets[1].fault = "a bad block"
        await store.buckets[1].stop_server()
        await until(lambda: not link.connected)
        with pytest.raises(Unavailable, match="bucket-1"):
            await directory._delivery.reconcile(1, None, deadline_s)
        store.buckets[1].fault = ""
        await store.buckets[1].start()
        await until(lambda: link.connected)
        await directory._delivery.reconcile(1, None, deadline_s)
        assert directory.view.statuses[1].topology == topology


@run_async
async def test_a_late_word_of_how_far_keys_have_moved_takes_nothing_back() -> None:
    async with local_store(2) as store:
        directory = await store.directory(1)
        view = directory.view
        assert view.topology is not None
        moving = view.topology.begin_move(2, ("one",))
        await directory.polling.stop()
        view.adopt(moving)
        for position in (b"b", b"c", b"a"):
            assert view.learn(0, messages.Moved(moving, position))
        assert view.cursors == {0: b"c"}


@run_async
async def test_what_a_bucket_goes_by_is_what_it_finds_after_a_restart() -> None:
    async with local_store(2) as store:
        directory = await store.directory(1)
        topology, server = directory.view.topology, store.buckets[0].server
        assert topology is not None
        assert server is not None
        bucket = server.bucket
        for newer in (topology.begin_move(2, ("one",)), topology.begin_move(2, ("one",)).accept_loss(1, "other")):
            await server.mover_access.install(newer)
            stored = read_bucket_facts(store.buckets[0].engine.get_fact, "memory")
            durable = Standing(stored.topology, stored.cursor, stored.markers)
            assert durable.topology == newer
            assert durable.cursor is not None
            assert durable.cursor.epoch == newer.epoch
            assert bucket.standing.cursor is not None
            assert bucket.standing.cursor.epoch == newer.epoch
