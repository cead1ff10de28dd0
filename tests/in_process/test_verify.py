"""`verify` on a store that runs: what it finds, and that clients at work and keys on the move do not mislead it."""

from __future__ import annotations

import asyncio
import io
import itertools
import random
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from rich.console import Console

from serve_app import placement
from serve_app.bucket import survey
from serve_app.bucket.bucket import Bucket
from serve_app.cli import operator, reading, verification
from serve_app.cli.buckets import Buckets
from serve_app.cli.reading import Count
from serve_app.cli.verification import Verification, verify
from serve_app.command_output.failure import Failure
from serve_app.directory.directory import Directory
from serve_app.errors import Unavailable
from serve_app.resharding import mover
from serve_app.settings import Limits
from serve_app.storage.engine import Changes
from serve_app.storage.facts import TOPOLOGY, read_bucket_facts, topology_fact
from serve_app.topology import Topology
from serve_app.wire import messages
from tests.support.asking import delete, put
from tests.support.commits import nobody_is_told
from tests.support.local_store import TEST_LIMITS, LocalStore, MemoryStorage, local_store, run_async, until
from tests.support.memory_engine import new_bucket_engine
from tests.support.quick_moves import move_quickly


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "_RECORDS_AT_ONCE", 10)
    move_quickly(monkeypatch)
    monkeypatch.setattr(verification, "_PAUSE_S", 0.01)


def keys_of(bucket_id: int, bucket_count: int = 2) -> list[bytes]:
    """Some keys whose home is this bucket."""
    candidates = (b"key-%d" % n for n in itertools.count())
    return list(itertools.islice((key for key in candidates if placement.bucket_of(key, bucket_count) == bucket_id), 5))


@asynccontextmanager
async def filled_store(
    buckets: int = 2, *, keys: int = 100, configured: int | None = None, limits: Limits = TEST_LIMITS
) -> AsyncIterator[tuple[LocalStore, Directory]]:
    async with local_store(buckets, limits) as store:
        directory = await store.directory(configured)
        for n in range(keys):
            await put(directory, b"key-%d" % n, b"value", "text/plain")
        yield store, directory


async def verified(store: LocalStore) -> Verification:
    async with Buckets(store, find_timeout_s=0.5) as buckets:
        return await verify(buckets)


def shown(found: Verification) -> tuple[int, str]:
    out = io.StringIO()
    status = operator.show(Console(file=out, width=200, highlight=False), found)
    return status, out.getvalue()


@run_async
async def test_a_page_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "_RECORDS_AT_ONCE", 1_000)
    monkeypatch.setattr(survey, "_BYTES_AT_ONCE", 1)
    pages: list[int] = []
    async with filled_store(1, keys=7) as (store, _), Buckets(store, find_timeout_s=0.5) as buckets:
        assert (await verify(buckets, pages.append)).records == 7
    assert pages == [1] * 7


@run_async
async def test_a_page_that_nobody_waits_for_any_more_is_not_read_on() -> None:
    async with filled_store(1, keys=7) as (store, _):
        server = store.buckets[0].server
        assert server is not None
        late = survey.survey(server.bucket, b"", server.bucket.clock())
        assert isinstance(late, messages.Refused)
        assert late.reason == "expired"


@pytest.mark.parametrize("replaced", [False, True])
def test_what_came_from_a_bucket_whose_loss_was_accepted_is_at_home(replaced: bool) -> None:
    """Its windows came, and nothing says so any more; of another source, a record without a marker has not come."""
    storage = MemoryStorage(new_bucket_engine(1), 1)
    moving = Topology(2, 1, 2, "store", ("zero", storage.own.identity), move_epoch=2)
    topology = moving.accept_loss(0, "another") if replaced else moving
    key = keys_of(1)[0]
    storage.engine.write([(key, b"raw")], [topology_fact(topology)])
    storage.facts = read_bucket_facts(storage.engine.get_fact, "memory")
    bucket = Bucket(storage, TEST_LIMITS, incarnation="1", on_group_done=nobody_is_told, failed=lambda error: None)
    found = survey.survey(bucket, b"", 1e18)
    assert isinstance(found, messages.Surveyed)
    assert found.misplaced == ([] if replaced else [key])


@run_async
async def test_a_whole_store_is_called_whole() -> None:
    async with filled_store(3) as (store, _):
        found = await verified(store)
        assert found.problems == []
        assert found.records == 100
        assert [reading.read for reading in found.readings.values()] == [len(b.records) for b in store.buckets]
        status, text = shown(found)
        assert status == 0
        assert "whole: all 100 keys are at home, and every count is exact" in text


@run_async
async def test_a_key_planted_in_the_wrong_bucket_is_found() -> None:
    async with filled_store() as (store, _):
        key = keys_of(1)[0]
        store.buckets[0].engine.write([(key, store.buckets[1].records[key])], [])
        status, text = shown(await verified(store))
        assert status == 1
        assert "bucket-0 holds 1 key that belongs elsewhere" in text
        assert f"bucket-0 holds '{key.decode()}', which belongs to bucket-1" in text
        assert f"bucket-0 counts {len(store.buckets[0].records) - 1} keys, and" in text


@run_async
async def test_many_misplaced_keys_are_named_in_part() -> None:
    async with filled_store(keys=10) as (store, _):
        planted = [b"planted-%d" % n for n in range(60)]
        store.buckets[0].engine.write([(key, b"raw") for key in planted if placement.bucket_of(key, 2) == 1], [])
        count = sum(placement.bucket_of(key, 2) == 1 for key in planted)
        status, text = shown(await verified(store))
        assert status == 1
        assert f"bucket-0 holds {count} keys that belong elsewhere" in text
        assert text.count("which belongs to bucket-1") == 10
        assert f"and {count - 10} more in bucket-0" in text


@run_async
async def test_a_lost_record_is_found_by_the_count() -> None:
    async with filled_store() as (store, _):
        gone = next(iter(store.buckets[1].records))
        store.buckets[1].engine.write([(gone, None)], [])
        found = await verified(store)
        assert found.readings[1].count is Count.WRONG
        assert found.readings[0].count is Count.EXACT
        assert shown(found)[0] == 1


@run_async
async def test_clients_at_work_do_not_mislead_it() -> None:
    async with filled_store() as (store, directory):
        going = True

        async def client(number: int) -> None:
            chance = random.Random(number)
            while going:
                key = b"%d-%d" % (number, chance.randrange(50))
                if chance.random() < 0.3:
                    await delete(directory, key)
                else:
                    await put(directory, key, b"value", "text/plain")

        clients = [asyncio.create_task(client(number)) for number in range(4)]
        for _ in range(3):
            found = await verified(store)
            assert found.problems == []
            assert {reading.count for reading in found.readings.values()} <= {Count.EXACT, Count.EXPLAINED}
        going = False
        await asyncio.gather(*clients)
        assert (await verified(store)).counts_exact


@run_async
async def test_it_is_right_all_through_a_move() -> None:
    async with filled_store(4, configured=2, keys=300) as (store, directory):
        for count in (4, 3, 1, 2):
            directory.configuration.follow(count)
            topology = directory.view.topology
            while topology is None or topology.moving or topology.bucket_count != count:
                found = await verified(store)
                assert found.problems == []
                topology = directory.view.topology
        found = await verified(store)
        assert found.counts_exact
        assert found.records == 300
        assert found.topology.bucket_count == 2


def test_a_move_that_stands_still_is_checked_by_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover, "WINDOW_BYTES", 200)
    slow = TEST_LIMITS.model_copy(update={"move_bytes_per_s": 1})

    @run_async
    async def check() -> None:
        async with filled_store(4, configured=2, limits=slow) as (store, directory):
            directory.configuration.follow(4)
            await until(lambda: bool(store.buckets[2].records) and bool(store.buckets[3].records))
            await until(lambda: all(not b.server.mover_access.cursor.intent_end for b in store.buckets))  # type: ignore[union-attr]
            found = await verified(store)
            assert found.topology.moving
            assert found.problems == []
            assert found.records == 100
            status, text = shown(found)
            assert status == 0
            assert "keys move to 4" in text
            assert "nothing wrong so far: all 100 records are where they should be by now" in text

            # Of the keys of bucket-0 the last of all have not moved yet, so a copy at the new home is none that came.
            late = max(key for key in store.buckets[0].records if placement.bucket_of(key, 4) == 2)
            for wrong in (2, 3):
                store.buckets[wrong].engine.write([(late, b"raw")], [])
                status, text = shown(await verified(store))
                assert status == 1
                assert f"bucket-{wrong} holds {late.decode()!r}, which belongs to bucket-0, or bucket-2 once" in text

    check()


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_end_of_a_move_does_not_mislead_it_while_its_sync_lasts(
    on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A topology that is decided and not served by yet has forgotten the markers by which records were judged before. As
    long as those are on the disk, they count; where the new topology is there in their place, nothing is judged by the old.
    """
    stands_still, syncs = threading.Event(), threading.Event()

    @run_async
    async def check() -> None:
        async with filled_store(2, configured=1) as (store, directory):
            target = store.buckets[1].engine
            write = target.write

            def slow(records: Changes, facts: Changes) -> None:
                topology = dict(facts).get(TOPOLOGY)
                ends = topology is not None and not msgspec.msgpack.decode(topology, type=Topology).moving
                if on_disk:
                    write(records, facts)
                if ends:
                    stands_still.set()
                    assert syncs.wait(20)
                if not on_disk:
                    write(records, facts)

            monkeypatch.setattr(target, "write", slow)
            directory.configuration.follow(2)
            await until(stands_still.is_set, 20)
            bucket = store.buckets[1].server.bucket  # type: ignore[union-attr]
            decided = bucket.state.standing.topology
            assert decided is not None
            assert decided.phase == "stable"
            assert bucket.standing.topology is not None
            assert bucket.standing.topology.moving
            assert store.buckets[1].records
            page = await asyncio.to_thread(survey.survey, bucket, b"", bucket.clock() + 1)
            if on_disk:
                assert isinstance(page, messages.Moved)
            else:
                assert isinstance(page, messages.Surveyed)
                assert page.keys > 0
                assert page.misplaced == []
            asyncio.get_running_loop().call_later(0.3, syncs.set)
            assert (await verified(store)).problems == []

    check()


@run_async
async def test_a_bucket_that_is_away_or_lost_is_named() -> None:
    async with filled_store(3) as (store, _):
        await store.buckets[1].crash()
        await store.buckets[2].come_back_with(new_bucket_engine(2))
        found = await verified(store)
        assert set(found.unread) == {1, 2}
        status, text = shown(found)
        assert status == 1
        assert "bucket-1 could not be read: bucket-1 is away" in text
        assert "the volume came back empty or is another one" in text
        assert "`accept-loss 2` goes on without its data" in text


@run_async
async def test_a_bucket_that_says_why_it_does_not_serve_is_quoted() -> None:
    async with filled_store() as (store, _):
        await store.buckets[1].crash()
        store.buckets[1].fault = "000012.sst is damaged"
        assert "000012.sst is damaged" in (await verified(store)).unread[1]


@run_async
async def test_another_stores_volume_is_named() -> None:
    async with local_store(3) as other:
        await other.directory()
        await until(lambda: all(bucket.server.bucket.standing.topology for bucket in other.buckets))  # type: ignore[union-attr]
        async with filled_store(3) as (store, _):
            await until(lambda: all(bucket.server.bucket.standing.topology for bucket in store.buckets))  # type: ignore[union-attr]
            await store.buckets[2].come_back_with(other.buckets[2].engine)
            assert "belongs to the store" in (await verified(store)).unread[2]


@run_async
async def test_a_bucket_that_is_left_out_must_hold_nothing() -> None:
    async with filled_store(3) as (store, directory):
        directory.configuration.follow(2)
        await until(lambda: store.buckets[2].server.bucket.standing.topology.bucket_count == 2)  # type: ignore[union-attr]
        assert (await verified(store)).problems == []
        store.buckets[2].retired = False  # it would have ended
        store.buckets[2].engine.write([(b"key", b"raw")], [])
        assert "bucket-2 holds 1 key that belongs elsewhere" in (await verified(store)).problems


@run_async
async def test_a_store_that_was_never_founded_has_nothing_to_verify() -> None:
    async with local_store(2) as store:
        with pytest.raises(Failure, match="no bucket knows of a store"):
            await verified(store)


@run_async
async def test_two_halves_of_two_stores_are_no_store() -> None:
    async with local_store(2) as other:
        await other.directory()
        await until(lambda: other.buckets[1].server.bucket.standing.topology is not None)  # type: ignore[union-attr]
        async with filled_store() as (store, _):
            await until(lambda: store.buckets[1].server.bucket.standing.topology is not None)  # type: ignore[union-attr]
            await store.buckets[1].come_back_with(other.buckets[1].engine)
            with pytest.raises(Unavailable, match="different stores"):
                await verified(store)


@run_async
async def test_a_bucket_that_restarts_while_it_is_read_is_read_again() -> None:
    async with filled_store() as (store, _), Buckets(store) as buckets:
        restarted: list[asyncio.Task[None]] = []

        def progress(records: int) -> None:
            if not restarted:
                bucket = store.buckets[0]
                restarted.append(asyncio.create_task(bucket.come_back_with(bucket.engine)))

        found = await verify(buckets, progress)
        await restarted[0]
        assert found.problems == []
        assert found.counts_exact


# -- comparing counts ------------------------------------------------------------------------------------------------


def status(keys: int, revision: int, *, moving: bool = False, moved: int = 0, queued: int = 0) -> messages.Status:
    topology = Topology(1, 2, 3 if moving else 2, "store", ("a", "b", "c") if moving else ("a", "b"))
    return messages.Status(0, "a", "", topology, keys, 10 * keys, revision, 0, False, queued, "", "", moved_keys=moved)


@pytest.mark.parametrize(
    ("before", "after", "read", "expected"),
    [
        (status(5, 9), status(5, 9), 5, Count.EXACT),
        (status(5, 9), status(5, 9), 6, Count.WRONG),
        (status(5, 9), status(5, 9), 4, Count.WRONG),
        (status(5, 9), status(5, 9, queued=1), 6, Count.EXPLAINED),  # on disk, and about to be counted
        (status(5, 9), status(7, 11), 6, Count.EXPLAINED),
        (status(5, 9), status(5, 11), 5, Count.EXPLAINED),
        (status(5, 9), status(6, 10), 7, Count.WRONG),
        (status(5, 9), status(6, 10), 3, Count.WRONG),
        (status(5, 9, moving=True), status(5, 9, moving=True), 5, Count.EXACT),
        (status(5, 9, moving=True), status(5, 9, moving=True), 4, Count.WRONG),
        (status(5, 9, moving=True), status(2, 9, moving=True, moved=3), 3, Count.MOVING),
        (status(5, 9, moving=True), status(5, 9, moving=True, moved=3), 5, Count.MOVING),  # as many came as left
    ],
)
def test_counts_are_compared_within_what_changed(
    before: messages.Status, after: messages.Status, read: int, expected: Count
) -> None:
    assert reading._compare(before, after, read) is expected
