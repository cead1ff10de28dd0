"""Lists over real buckets: in order, whole, and each key once, whatever moves meanwhile."""

from __future__ import annotations

import asyncio
import random

import pytest

from serve_app.directory.directory import Directory
from serve_app.directory.listing import Question
from serve_app.errors import Unavailable
from serve_app.operations import Delete, Put
from tests.support.asking import delete, put
from tests.support.clock import HOUR_MS, Clock
from tests.support.local_store import local_store, run_async, until
from tests.support.quick_moves import move_quickly, settled


@pytest.fixture(autouse=True)
def agree_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)


async def fill(directory: Directory, keys: list[bytes]) -> None:
    for start in range(0, len(keys), 500):
        await directory.carry_out_all([Put(key, b"v" + key, "text/plain") for key in keys[start : start + 500]])


async def names(directory: Directory, **asked: object) -> tuple[list[bytes], list[bytes], int]:
    """All keys and prefixes of a list, and how many pages it had."""
    keys: list[bytes] = []
    prefixes: list[bytes] = []
    start, pages = b"", 0
    while True:
        page = await directory.listing.page(Question(start_after=start, **asked))  # type: ignore[arg-type]
        pages += 1
        keys += [entry.key for entry in page.entries]
        prefixes += page.prefixes
        if page.next is None:
            return keys, prefixes, pages
        assert page.next > start
        start = page.next


@pytest.mark.parametrize("count", [1, 2, 5])
@run_async
async def test_all_keys_are_listed_in_the_order_of_their_bytes(count: int) -> None:
    async with local_store(count) as store:
        directory = await store.directory()
        rng = random.Random(1)
        keys = sorted({bytes(rng.choice(b"a/b\0z") for _ in range(rng.randint(1, 8))) for _ in range(400)})
        await fill(directory, keys)
        for limit in (1, 7, 100, 1000):
            found, prefixes, pages = await names(directory, limit=limit)
            assert (found, prefixes) == (keys, [])
            assert limit == 1 or pages <= len(keys) // limit + 1, "pages are full"
        assert (await names(directory, prefix=b"a/"))[0] == [key for key in keys if key.startswith(b"a/")]
        page = await directory.listing.page(Question(start_after=keys[10], limit=3))
        assert [entry.key for entry in page.entries] == keys[11:14]


@run_async
async def test_names_with_a_delimiter_are_those_of_folders() -> None:
    async with local_store(3) as store:
        directory = await store.directory()
        keys = [b"top", *(b"photos/2024/%d" % n for n in range(40)), *(b"photos/%d" % n for n in range(5)), b"photos/"]
        await fill(directory, keys)
        for limit in (1, 2, 1000):
            assert (await names(directory, delimiter=b"/", limit=limit))[:2] == ([b"top"], [b"photos/"])
            within = await names(directory, prefix=b"photos/", delimiter=b"/", limit=limit)
            assert within[:2] == ([b"photos/", *(b"photos/%d" % n for n in range(5))], [b"photos/2024/"])
            behind = await names(directory, prefix=b"photos/", delimiter=b"/", limit=limit, values=False)
            assert behind == within
        for start, told in ((b"photos/2024/3", [b"photos/"]), (b"photos/", []), (b"photos/5", [])):
            page = await directory.listing.page(Question(delimiter=b"/", start_after=start))
            assert ([entry.key for entry in page.entries], page.prefixes) == ([b"top"], told)


@run_async
async def test_expired_keys_hide_no_folder_and_none_is_told_twice() -> None:
    clock = Clock()
    async with local_store(3, platform=clock.platform()) as store:
        directory = await store.directory()
        folders = [b"%c/" % letter for letter in b"abcdefgh"]
        for folder in folders:
            for number in range(30):
                dies = number % 3 or folder in (b"c/", b"d/")
                await directory.carry_out(Put(folder + b"%02d" % number, b"", "", ttl_ms=HOUR_MS if dies else 0))
        clock.advance(2 * HOUR_MS)
        expected = [folder for folder in folders if folder not in (b"c/", b"d/")]
        for limit in (1, 2, 3):
            assert (await names(directory, delimiter=b"/", limit=limit))[:2] == ([], expected)


@run_async
async def test_values_and_metadata_are_the_records() -> None:
    async with local_store(2) as store:
        directory = await store.directory()
        await directory.carry_out(Put(b"k", b"\xff\0", "image/png", expires_ms=4_000_000_000_000))
        (entry,) = (await directory.listing.page(Question(values=True))).entries
        assert (entry.key, entry.size, entry.value, entry.content_type) == (b"k", 2, b"\xff\0", "image/png")
        assert entry.expires_ms == 4_000_000_000_000
        assert 0 < entry.created_ms <= entry.modified_ms
        assert (await directory.listing.page(Question())).entries[0].value == b""


@run_async
async def test_a_key_that_is_there_throughout_is_listed_once_while_keys_move() -> None:
    """Lists in a loop from two directories, while the store goes through four moves and others come and go."""
    async with local_store(5) as store:
        directories = [await store.directory(2) for _ in range(2)]
        stays = [b"stays-%03d" % n for n in range(300)]
        await fill(directories[0], stays)
        going = True
        lists = 0

        async def come_and_go(number: int) -> None:
            while going:
                key = b"%s-%d" % (random.Random(number).choice([b"a", b"stays-1", b"z"]), number)
                await put(directories[number % 2], key, b"1")
                await delete(directories[number % 2], key)

        async def list_all(number: int) -> None:
            nonlocal lists
            while going:
                found, _, _ = await names(directories[number], limit=random.Random(lists).choice([1, 10, 50, 1000]))
                assert found == sorted(set(found))
                assert set(stays) <= set(found)
                lists += 1

        tasks = [asyncio.create_task(come_and_go(n)) for n in range(4)]
        tasks += [asyncio.create_task(list_all(n)) for n in range(2)]
        for count in (5, 3, 4, 1):
            for directory in directories:
                directory.configuration.follow(count)
            await until(lambda count=count: settled(directories[0], count), 30)  # type: ignore[misc]
        going = False
        await asyncio.gather(*tasks)
        assert lists >= 4


@run_async
async def test_a_list_waits_for_a_bucket_that_is_away_and_says_so_if_it_stays_away() -> None:
    async with local_store(2) as store:
        directory = await store.directory()
        await fill(directory, [b"k%d" % n for n in range(20)])
        await store.buckets[1].crash()
        listing = asyncio.create_task(names(directory))
        await asyncio.sleep(0.05)
        await store.buckets[1].start()
        assert len((await listing)[0]) == 20
        await store.buckets[1].crash()
        with pytest.raises(Unavailable, match="bucket-1"):
            await directory.listing.page(Question())


@run_async
async def test_what_has_expired_is_in_no_list() -> None:
    async with local_store(2) as store:
        directory = await store.directory()
        now_ms = 2_000_000_000_000
        for bucket in store.buckets:
            assert bucket.server is not None
            bucket.server.bucket.now_ms = lambda: now_ms
            bucket.server.bucket.state.now_ms = lambda: now_ms
        keys = [b"k%02d" % n for n in range(40)]
        await directory.carry_out_all([Put(key, b"1", "", ttl_ms=1000 if key < b"k30" else 0) for key in keys])
        assert (await names(directory))[0] == keys
        now_ms += 1000
        assert (await names(directory, limit=3))[0] == keys[30:]
        assert sum(len(bucket.records) for bucket in store.buckets) == 10, "what was said to be gone is gone"
        await directory.carry_out(Delete(keys[30]))
        assert (await names(directory))[0] == keys[31:]
