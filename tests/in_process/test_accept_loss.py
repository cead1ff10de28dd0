"""`accept-loss`: what it refuses, and that the store goes on without the lost bucket's data and with all the rest."""

from __future__ import annotations

import pytest

from serve_app import placement
from serve_app.cli import loss as loss_module
from serve_app.cli.buckets import Buckets
from serve_app.cli.loss import accept, find_loss
from serve_app.cli.operator import accept_loss, described
from serve_app.command_output.failure import Failure
from serve_app.directory.directory import Directory
from serve_app.directory.topology_delivery import TopologyDelivery
from serve_app.errors import Unavailable
from serve_app.storage.facts import TOPOLOGY
from serve_app.topology import Topology
from serve_app.wire import messages
from tests.support.asking import get, put
from tests.support.local_store import LocalStore, local_store, run_async, until
from tests.support.lost_buckets import (
    KEYS,
    accepted,
    check_keys,
    check_whole,
    filled_store,
    found,
    known,
    lose,
)
from tests.support.quick_moves import move_quickly


@pytest.fixture(autouse=True)
def agree_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)


async def refused(store: LocalStore, bucket_id: int) -> str:
    """The sentence with which it refuses; nothing has changed after it."""
    before = [bucket.engine.get_fact(TOPOLOGY) for bucket in store.buckets]
    with pytest.raises((Failure, Unavailable)) as raised:
        await accepted(store, bucket_id)
    assert [bucket.engine.get_fact(TOPOLOGY) for bucket in store.buckets] == before
    return str(raised.value)


# -- a stable store --------------------------------------------------------------------------------------------------


@run_async
async def test_a_new_storage_that_was_told_late_of_what_was_before_takes_the_place() -> None:
    """A topology from before the bucket joined leaves it out, so any storage takes it: that says nothing of whose it is."""
    async with filled_store(2, configured=1) as (store, directory):
        before = known(store, 0)
        assert before is not None
        directory.configuration.follow(2)
        await until(lambda: known(store, 1) is not None and known(store, 1) == known(store, 0), 20)
        await until(lambda: not known(store, 1).moving, 20)  # type: ignore[union-attr]
        await lose(store, 1)
        async with Buckets(store, find_timeout_s=0.5) as buckets:
            await loss_module._install(buckets, 1, before)
        after = await accepted(store, 1)
        await until(lambda: directory.view.topology == after)
        await check_keys(directory, {key for key in KEYS if placement.bucket_of(key, 2) == 1})


@run_async
async def test_epochs_that_a_lost_authority_had_given_away_do_not_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def told_nobody(self: TopologyDelivery, topology: Topology) -> None:
        """Not yet, however long this takes."""

    async with filled_store(3) as (store, directory):
        monkeypatch.setattr(TopologyDelivery, "catch_up", told_nobody)
        before = known(store, 1)
        assert before is not None
        await lose(store, 0)
        # It had committed these, and had told nobody but this directory.
        given_away = before.begin_move(4, ("of-bucket-3",)).accept_loss(1, "another").accept_loss(2, "another")
        directory.view.adopt(given_away)
        after = await accepted(store, 0)
        assert after.epoch > given_away.epoch
        await until(lambda: directory.view.topology == after)
        await check_keys(directory, {key for key in KEYS if placement.bucket_of(key, 3) == 0})


@pytest.mark.parametrize("lost", [0, 1])
def test_the_store_goes_on_without_the_data(lost: int) -> None:
    @run_async
    async def check() -> None:
        async with filled_store(3) as (store, directory):
            before = known(store, 1 - lost)
            assert before is not None
            await lose(store, lost)
            gone = [key for key in KEYS if placement.bucket_of(key, 3) == lost]
            with pytest.raises(Unavailable, match="came back empty"):
                await get(directory, gone[0])

            after = await accepted(store, lost)
            assert after.epoch > before.epoch
            assert (after.store_id, after.bucket_count, after.moving) == (before.store_id, 3, False)
            assert [known(store, bucket_id) for bucket_id in range(3)] == [after] * 3
            await until(lambda: directory.view.topology == after)
            await until(lambda: directory.view.link(lost).connection() is not None)
            await check_keys(directory, set(gone))
            assert await get(directory, gone[0]) is None
            await put(directory, gone[0], b"new", "")
            assert await get(directory, gone[0]) == b"new"
            await check_whole(store)
            assert "is not lost: its storage" in await refused(store, lost)

            directory.configuration.follow(2)  # whoever has the authority now can change the topology
            await until(lambda: known(store, 1) == known(store, 0) and known(store, 0).bucket_count == 2, 20)  # type: ignore[union-attr]
            await check_whole(store)

    check()


@run_async
async def test_what_is_known_is_said() -> None:
    async with filled_store() as (store, _):
        topology = known(store, 0)
        assert topology is not None
        await lose(store, 1)
        text = "\n".join(described(await found(store, 1)))
        assert f"bucket-1 of the store {topology.store_id} (2 buckets, epoch 1)" in text
        assert topology.identities[1] in text
        assert store.buckets[1].server.bucket.identity in text  # type: ignore[union-attr]


@run_async
async def test_two_lost_buckets_are_accepted_one_after_the_other() -> None:
    async with filled_store(3) as (store, directory):
        await lose(store, 0)
        await lose(store, 1)
        assert "bucket-0, which has to commit this, is lost itself: `accept-loss 0` comes first" in await refused(
            store, 1
        )
        await accepted(store, 0, untellable={1})
        after = await accepted(store, 1)
        await until(lambda: directory.view.topology == after)
        await until(lambda: all(link.connection() for link in directory.view.links.values()))
        await check_keys(directory, {key for key in KEYS if placement.bucket_of(key, 3) != 2})
        await check_whole(store)


@run_async
async def test_accepting_the_same_again_changes_nothing() -> None:
    """The answer to the first may have been lost. In a move another epoch would give up what has come since."""
    async with filled_store() as (store, directory):
        await lose(store, 1)
        after = await accepted(store, 1)
        again = messages.AcceptLoss(1, after.identities[1])
        assert (await directory.view.link(0).ask(again, 2.0)).topology == after


@run_async
async def test_accepting_that_was_interrupted_is_done() -> None:
    """Bucket 0 has the new topology and nobody else has."""
    async with filled_store(3) as (store, directory):
        await directory.stop()
        await lose(store, 0)
        async with Buckets(store) as buckets:
            after = await loss_module._commit(buckets, await find_loss(buckets, 0), loss_module.unix_us)
        assert known(store, 1) != after
        assert "bucket-0 is not lost" in await refused(store, 0)
        late = await store.directory()
        await until(lambda: known(store, 1) == known(store, 2) == after)
        assert late.view.topology == after


# -- refusals --------------------------------------------------------------------------------------------------------


@run_async
async def test_a_bucket_that_has_its_storage_is_not_lost() -> None:
    async with filled_store() as (store, _):
        for bucket_id in range(2):
            assert f"bucket-{bucket_id} is not lost" in await refused(store, bucket_id)
        assert "the store has 2 buckets: there is no bucket-2" in await refused(store, 2)


@run_async
async def test_a_bucket_that_is_away_may_come_back() -> None:
    async with filled_store() as (store, _):
        await store.buckets[1].crash()
        assert "bucket-1 can't be reached: bucket-1 is away" in await refused(store, 1)
        store.buckets[1].fault = "000012.sst is damaged"
        assert "000012.sst is damaged" in await refused(store, 1)


@pytest.mark.parametrize("lost", [0, 2])
def test_another_stores_volume_is_not_taken(lost: int) -> None:
    @run_async
    async def check() -> None:
        async with filled_store(3) as (other, _), filled_store(3) as (store, directory):
            whole = other.buckets[lost].engine
            await other.buckets[lost].crash()
            await store.buckets[lost].come_back_with(whole)
            assert f"holds {len(whole._records)} records" in await refused(store, lost)
            whole.write([(key, None) for key in whole._records], [])
            await store.buckets[lost].come_back_with(whole)
            assert "holds" in await refused(store, lost), "its own count still says so"
            await check_keys_of_others(directory, lost)

    check()


async def check_keys_of_others(directory: Directory, lost: int) -> None:
    for key in KEYS:
        if placement.bucket_of(key, 3) != lost:
            assert await get(directory, key) == b"value of " + key


@run_async
async def test_another_stores_empty_volume_is_not_taken() -> None:
    async with local_store(3) as other, filled_store(3) as (store, _):
        await other.directory()
        await until(lambda: known(other, 2) is not None)
        await store.buckets[2].come_back_with(other.buckets[2].engine)
        assert "belongs to another store" in await refused(store, 2)


@run_async
async def test_where_nobody_knows_a_store_there_is_nothing_to_go_on_with() -> None:
    async with local_store(2) as store:
        assert "no other bucket knows of a store" in await refused(store, 0)
        assert "no other bucket knows of a store" in await refused(store, 1)


@run_async
async def test_bucket_0_has_to_be_there_to_commit_it() -> None:
    async with filled_store(3) as (store, _):
        await lose(store, 1)
        await store.buckets[0].crash()
        assert "bucket-0, which has to commit this, can't be reached" in await refused(store, 1)


@run_async
async def test_without_bucket_0_all_others_have_to_be_there() -> None:
    """The one that is missing may know a newer topology."""
    async with filled_store(3) as (store, _):
        await lose(store, 0)
        await store.buckets[2].crash()
        assert "every other bucket has to be there" in await refused(store, 0)
        await store.buckets[2].start()
        assert (await accepted(store, 0)).bucket_count == 3


@run_async
async def test_the_right_volume_that_comes_back_meanwhile_is_kept() -> None:
    async with filled_store() as (store, _):
        right = store.buckets[1].engine
        await lose(store, 1)
        loss = await found(store, 1)
        await store.buckets[1].come_back_with(right)
        async with Buckets(store) as buckets:
            with pytest.raises(Failure, match="is not lost"):
                await accept(buckets, loss)
        await lose(store, 1)
        async with Buckets(store) as buckets:
            with pytest.raises(Failure, match="yet another storage"):
                await accept(buckets, loss)


@pytest.mark.parametrize("name", ["", "x", "-1", "bucket-", "bucket-x", "directory"])
def test_what_is_no_bucket_is_refused(name: str) -> None:
    with pytest.raises(Failure, match="is no bucket: write 1 or bucket-1"):
        accept_loss("auto", name, None)


@run_async
async def test_a_new_authority_is_not_said_to_be_away() -> None:
    """The link's trouble was that its storage was not the one that the store knew; it is by now."""
    async with filled_store(3) as (store, directory):
        await lose(store, 0)
        await until(lambda: directory.view.link(0).wrong_storage)
        after = await accepted(store, 0)
        await until(lambda: directory.view.topology == after)
        await until(lambda: directory.view.link(0).connection() is not None)
        assert not directory.view.link(0).trouble
        assert not directory.view.link(0).faulted
        directory.configuration.follow(2)
        directory.configuration.compare(directory.view)
        assert "can't serve" not in directory.configuration.problem
