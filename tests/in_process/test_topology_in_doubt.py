"""A topology whose batch met damage may or may not be there after a restart: until then nobody hears of it."""

from __future__ import annotations

import pytest

from serve_app.errors import StorageDamaged, Unavailable
from serve_app.storage.engine import Changes
from serve_app.storage.facts import TOPOLOGY
from serve_app.wire import messages
from tests.support.local_store import TEST_LIMITS, LocalBucket, LocalStore, local_store, run_async, until
from tests.support.quick_moves import move_quickly, settled


def damage_next_facts(bucket: LocalBucket, name: bytes) -> None:
    """The next batch with such a fact is written, and damage is met then; RocksDB takes no more writes after that."""
    write = bucket.engine.write

    def damaged(records: Changes, facts: Changes) -> None:
        write(records, facts)
        if name in dict(facts):
            raise StorageDamaged("a block of the log is damaged")

    bucket.engine.write = damaged  # type: ignore[method-assign]


def topologies(store: LocalStore) -> list[object]:
    return [None if bucket.server is None else bucket.server.bucket.standing.topology for bucket in store.buckets]


@run_async
async def test_a_store_is_not_founded_before_that_is_durable() -> None:
    async with local_store(2, TEST_LIMITS) as store:
        damage_next_facts(store.buckets[0], TOPOLOGY)
        directory = await store.directory(2, settled=False)
        await until(lambda: "damaged" in directory.what_is_missing())
        assert topologies(store) == [None, None]
        await store.buckets[0].crash()
        await store.buckets[0].start()
        await until(lambda: settled(directory, 2))
        await until(lambda: topologies(store) == [directory.view.topology] * 2)


@run_async
async def test_an_install_that_met_damage_is_not_served_by() -> None:
    async with local_store(1, TEST_LIMITS) as store:
        directory = await store.directory(1)
        before = directory.view.topology
        assert before is not None
        moving = before.begin_move(2, ("another",))
        damage_next_facts(store.buckets[0], TOPOLOGY)
        link = directory.view.link(0)
        for reason in ("damaged", "damaged"):
            with pytest.raises(Unavailable, match=reason):
                await link.ask(messages.Install(moving), 1.0)
        status = await link.ask(messages.Inspect(), 1.0)
        assert status.topology == before
        await store.buckets[0].crash()
        await store.buckets[0].start()
        assert topologies(store) == [moving]


@run_async
async def test_a_move_is_not_begun_before_that_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)
    async with local_store(2, TEST_LIMITS) as store:
        directory = await store.directory(1)
        before = directory.view.topology
        damage_next_facts(store.buckets[0], TOPOLOGY)
        directory.configuration.follow(2)
        await until(lambda: "damaged" in directory.configuration.problem)
        assert topologies(store) == [before, None]
        assert directory.view.topology == before
        await store.buckets[0].crash()
        await store.buckets[0].start()
        await until(lambda: settled(directory, 2))
