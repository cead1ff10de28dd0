"""What a directory may have under way: operations that wait, calls and bytes at each bucket, values being stored."""

from __future__ import annotations

import asyncio

import pytest

from serve_app.errors import Unavailable
from serve_app.operations import Put
from serve_app.settings import Limits
from serve_app.wire import connection as connection_module
from tests.support.asking import get, keys_of, put
from tests.support.local_store import local_store, run_async, until


@run_async
async def test_only_so_many_wait_for_a_bucket_that_is_away() -> None:
    async with local_store(limits=Limits(max_waiting_per_bucket=3)) as store:
        directory = await store.directory()
        await store.buckets[1].crash()
        await until(lambda: not directory.view.link(1).connected)
        key = keys_of(1)[0]
        waiting = [asyncio.create_task(get(directory, key)) for _ in range(3)]
        await until(lambda: directory.view.link(1).calls_waiting == 3)
        with pytest.raises(Unavailable, match="many operations wait"):
            await get(directory, key)
        await store.buckets[1].start()
        assert await asyncio.gather(*waiting) == [None] * 3


@run_async
async def test_only_so_many_calls_are_open_at_a_bucket() -> None:
    async with local_store(limits=Limits(max_calls_per_bucket=4)) as store:
        directory = await store.directory()
        store.buckets[0].wire.hold()
        key = keys_of(0)[0]
        under_way = [asyncio.create_task(get(directory, key)) for _ in range(4)]
        await until(lambda: directory.view.link(0).calls_open >= 4)
        with pytest.raises(Unavailable, match="too many operations"):
            await get(directory, key)
        store.buckets[0].wire.release()
        await asyncio.gather(*under_way)
        assert await get(directory, key) is None


@run_async
async def test_what_is_refused_is_not_counted_as_held() -> None:
    async with local_store(limits=Limits(max_held_bytes=1000)) as store:
        directory = await store.directory()
        for _ in range(2):
            store.buckets[0].wire.hold()
            held = asyncio.create_task(put(directory, keys_of(0)[0], b"x" * 600, ""))
            await until(lambda: directory.view.link(0).calls_open > 0)
            for _ in range(5):
                with pytest.raises(Unavailable, match="hold too many bytes"):
                    await put(directory, keys_of(1)[0], b"x" * 600, "")
                with pytest.raises(Unavailable, match="hold too many bytes"):
                    await directory.carry_out_all([Put(keys_of(1)[0], b"x" * 600, "")])
            store.buckets[0].wire.release()
            await held
        assert directory._held_bytes == 0


@run_async
async def test_only_so_many_bytes_are_under_way_to_a_bucket() -> None:
    async with local_store(limits=Limits(max_call_bytes_per_bucket=1000)) as store:
        directory = await store.directory()
        store.buckets[0].wire.hold()
        key = keys_of(0)[0]
        first = asyncio.create_task(put(directory, key, b"x" * 5000, ""))  # one is always taken
        await until(lambda: directory.view.link(0).calls_open > 0)
        with pytest.raises(Unavailable, match="too many operations"):
            await put(directory, key, b"x", "")
        store.buckets[0].wire.release()
        await first


@run_async
async def test_calls_that_expired_give_back_their_bytes() -> None:
    async with local_store(limits=Limits(max_call_bytes_per_bucket=1000)) as store:
        directory = await store.directory()
        store.buckets[0].wire.hold()
        connection = directory.view.link(0).connection()
        assert connection is not None
        key, now_s = keys_of(0)[0], asyncio.get_running_loop().time()
        with pytest.raises(connection_module.CallExpired):
            await connection.call(Put(key, b"x" * 900, ""), now_s + 0.05)
        waiting = [connection.call(Put(key, b"x" * 400, ""), now_s + 60) for _ in range(2)]
        store.buckets[0].wire.release()
        await asyncio.gather(*waiting)


@run_async
async def test_the_values_being_stored_are_bounded_in_bytes() -> None:
    async with local_store(limits=Limits(max_held_bytes=10_000)) as store:
        directory = await store.directory()
        await store.buckets[1].crash()
        await until(lambda: not directory.view.link(1).connected)
        waiting = asyncio.create_task(put(directory, keys_of(1)[0], b"x" * 9_000, ""))
        await until(lambda: directory.view.link(1).calls_waiting == 1)
        with pytest.raises(Unavailable, match="too many bytes"):
            await put(directory, keys_of(0)[0], b"x" * 2_000, "")
        await put(directory, keys_of(0)[0], b"x" * 500, "")
        await store.buckets[1].start()
        await waiting
        await put(directory, keys_of(0)[0], b"x" * 2_000, "")


@run_async
async def test_values_that_were_not_stored_count_no_more() -> None:
    async with local_store(limits=Limits(max_held_bytes=10_000)) as store:
        directory = await store.directory()
        store.buckets[1].fault = "a bad block"
        await store.buckets[1].stop_server()
        await until(lambda: directory.view.link(1).faulted)
        with pytest.raises(Unavailable, match="a bad block"):
            await put(directory, keys_of(1)[0], b"x" * 9_000, "")
        store.buckets[0].wire.hold()
        both = [asyncio.create_task(put(directory, keys_of(0)[n], b"x" * 4_000, "")) for n in range(2)]
        await until(lambda: directory.view.link(0).calls_open >= 2 or any(each.done() for each in both))
        store.buckets[0].wire.release()
        await asyncio.gather(*both)
