"""Watches over real buckets: nothing is missed, and no key's changes come backwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from serve_app.changes import DELETE, EXPIRE, PUT
from serve_app.directory import places
from serve_app.directory.directory import Directory
from serve_app.directory.merged_feed import Event
from serve_app.directory.watches import Some
from serve_app.errors import HistoryLost, InvalidRequest, StoreError
from serve_app.operations import Delete, Increment, Put
from serve_app.settings import Limits
from tests.support.asking import delete, put
from tests.support.local_store import TEST_LIMITS, local_store, run_async, until
from tests.support.quick_moves import move_quickly, settled


@pytest.fixture(autouse=True)
def agree_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)


class Watcher:
    """Follows one watch, and remembers all that it was told."""

    def __init__(self, directory: Directory, prefix: bytes = b"", last_id: str = "") -> None:
        self.directory, self.prefix, self.last_id = directory, prefix, last_id
        self.events: list[Event] = []
        self.ended: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Watcher:
        told = await self.directory.watches.watch(self.prefix, self.last_id, 0.5)
        self._task = asyncio.create_task(self._follow(told))
        return self

    async def _follow(self, told: AsyncIterator[Some]) -> None:
        try:
            async for some in told:
                self.events += some.events
                self.last_id = places.shown(self.directory.watches.store_id(), some.place)
        except StoreError as error:
            self.ended = error
        finally:
            await told.aclose()  # type: ignore[attr-defined]

    async def stop(self) -> str:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self.last_id

    def told(self) -> list[tuple[int, bytes]]:
        return [(event.change.kind, event.change.key) for event in self.events]

    def of(self, key: bytes) -> list[int]:
        """The revisions that were told of a key."""
        return [event.change.revision for event in self.events if event.change.key == key]


@run_async
async def test_who_is_cut_off_before_anything_has_changed_misses_nothing() -> None:
    """It had no id to come back with, for those came with changes and, after 10 s, with heartbeats."""
    async with local_store(2) as store:
        directory = await store.directory()
        watcher = await Watcher(directory).start()
        await until(lambda: watcher.last_id != "")
        last_id = await watcher.stop()
        assert watcher.events == []
        await put(directory, b"meanwhile", b"1")
        back = await Watcher(directory, last_id=last_id).start()
        await until(lambda: back.told() == [(PUT, b"meanwhile")])
        await back.stop()


@run_async
async def test_what_changes_is_told_in_order_with_its_revision() -> None:
    async with local_store(2) as store:
        directory = await store.directory()
        await put(directory, b"a/before", b"1")
        watcher = await Watcher(directory, b"a/").start()
        written = await directory.carry_out(Put(b"a/1", b"1", ""))
        await directory.carry_out(Put(b"b/1", b"1", ""))
        counted = await directory.carry_out(Increment(b"a/1"))
        deleted = await directory.carry_out(Delete(b"a/1"))
        await until(lambda: len(watcher.events) == 3)
        assert watcher.told() == [(PUT, b"a/1"), (PUT, b"a/1"), (DELETE, b"a/1")]
        assert watcher.of(b"a/1") == [written.answer.revision, counted.answer.revision, deleted.answer.revision]  # type: ignore[union-attr]
        await watcher.stop()
        assert directory.watches.count == 0


@run_async
async def test_an_expired_record_is_told_of() -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        watcher = await Watcher(directory).start()
        await directory.carry_out(Put(b"k", b"1", "", ttl_ms=30))
        await until(lambda: watcher.told() == [(PUT, b"k"), (EXPIRE, b"k")])
        await watcher.stop()


@pytest.mark.parametrize("elsewhere", [False, True])
@run_async
async def test_a_watch_that_comes_back_is_told_what_it_missed(elsewhere: bool) -> None:
    async with local_store(3) as store:
        first, other = await store.directory(), await store.directory()
        watcher = await Watcher(first).start()
        for n in range(10):
            await put(first, b"k%d" % n, b"1")
        await until(lambda: len(watcher.events) == 10)
        last_id = await watcher.stop()
        for n in range(10, 5000):
            await put(first, b"k%d" % n, b"1") if n % 100 else await put(other, b"k%d" % n, b"1")
        again = await Watcher(other if elsewhere else first, last_id=last_id).start()
        await until(lambda: len({key for _, key in again.told()}) >= 4990, 30)
        await put(first, b"last", b"1")
        await until(lambda: again.told()[-1] == (PUT, b"last"))
        keys = [key for _, key in again.told()]
        assert {b"k%d" % n for n in range(10, 5000)} <= set(keys)
        assert len(keys) == len(set(keys)), "nothing was told twice, for nothing was lost on the way"
        await again.stop()


@run_async
async def test_nothing_is_missed_while_keys_move_and_buckets_die_and_the_watcher_comes_back() -> None:
    async with local_store(4) as store:
        directories = [await store.directory(2) for _ in range(2)]
        watcher = await Watcher(directories[0]).start()
        going = True
        known: dict[bytes, list[int]] = {}

        async def write(number: int) -> None:
            n = 0
            while going:
                key = b"%d-%d" % (number, n % 20)
                n += 1
                try:
                    operation = Put(key, b"%d" % n, "", idempotency_key=b"n%d" % n)
                    written = await directories[number % 2].carry_out(operation)
                    known.setdefault(key, []).append(written.answer.revision)
                except StoreError:
                    pass
                await asyncio.sleep(0.001)

        writers = [asyncio.create_task(write(number)) for number in range(4)]
        seen: list[Watcher] = [watcher]
        for step, count in enumerate((4, 3, 2, 4)):
            for directory in directories:
                directory.configuration.follow(count)
            await asyncio.sleep(0.1)
            await store.buckets[step % 2].crash()
            await store.buckets[step % 2].start()
            last_id = await seen[-1].stop()
            seen.append(await Watcher(directories[step % 2], last_id=last_id).start())
            await until(lambda count=count: settled(directories[0], count), 40)  # type: ignore[misc]
        going = False
        await asyncio.gather(*writers)
        for key, revisions in known.items():
            await until(lambda key=key, last=revisions[-1]: any(last in each.of(key) for each in seen), 20)  # type: ignore[misc]
            told = [revision for each in seen for revision in each.of(key)]
            assert set(revisions) <= set(told), key
            for each in seen:
                assert each.of(key) == sorted(each.of(key)), "backwards"
        assert [each.ended for each in seen] == [None] * 5
        await seen[-1].stop()


@run_async
async def test_whose_history_is_gone_is_told_so() -> None:
    limits = Limits(**TEST_LIMITS.model_dump() | {"watch_history": 100})
    async with local_store(1, limits) as store:
        directory = await store.directory()
        watcher = await Watcher(directory).start()
        await put(directory, b"k", b"1")
        await until(lambda: len(watcher.events) == 1)
        last_id = await watcher.stop()
        for n in range(400):
            await put(directory, b"k%d" % n, b"1")
        other = await store.directory()
        with pytest.raises(HistoryLost, match="bucket-0 knows its changes since"):
            await Watcher(other, last_id=last_id).start()
        assert other.watches.count == 0


@pytest.mark.parametrize("last_id", ["x", "00000000", "0-1.2.3", "zzzzzzzz-0.00000000.1", "00000000-99.00000000.1" * 9])
@run_async
async def test_an_id_that_is_none_is_refused(last_id: str) -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        with pytest.raises((InvalidRequest, HistoryLost)):
            await Watcher(directory, last_id=last_id).start()


@run_async
async def test_a_delete_that_found_nothing_is_not_told() -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        watcher = await Watcher(directory).start()
        await delete(directory, b"none")
        await put(directory, b"k", b"1")
        await until(lambda: len(watcher.events) == 1)
        assert watcher.told() == [(PUT, b"k")]
        await watcher.stop()


@run_async
async def test_a_place_that_no_bucket_has_come_to_is_lost() -> None:
    """A bucket that was restored from an older copy is behind its watches: they were told nothing until it was level."""
    async with local_store(1) as store:
        directory = await store.directory()
        watcher = await Watcher(directory).start()
        await put(directory, b"k", b"1")
        await until(lambda: watcher.of(b"k") != [])
        rest, _, revision = watcher.last_id.rpartition(".")
        with pytest.raises(HistoryLost):
            await directory.watches.watch(b"", f"{rest}.{int(revision) + 1000}", 0.5)
        await watcher.stop()
        assert directory.watches.count == 0
