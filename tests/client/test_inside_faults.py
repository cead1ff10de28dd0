"""Inside the cluster: connections to buckets that break at chosen moments, buckets that go, keys that move. No call is left
without an answer, and no write happens twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cloud_storage import OutcomeUnknown, SomeFailed, Unavailable
from serve_app.cluster.connecting import LIMITS
from serve_app.directory.directory import Directory
from serve_app.inside.async_store import InsideAsyncStore
from tests.support.local_store import LocalStore, local_store, run_async, until
from tests.support.quick_moves import move_quickly, settled


@asynccontextmanager
async def inside(store: LocalStore, timeout_s: float = 20.0) -> AsyncIterator[InsideAsyncStore]:
    directory = Directory(store, LIMITS, guest=True)
    await directory.start()
    await directory.view.wait_for_topology(asyncio.get_running_loop().time() + 10)
    client = InsideAsyncStore(directory, LIMITS, timeout_s, directory.stop)
    try:
        yield client
    finally:
        await client.close()


@run_async
async def test_increments_happen_once_however_often_their_connections_break() -> None:
    async with local_store(2) as store:
        await store.directory()
        async with inside(store) as client:
            counts = dict.fromkeys((f"n{number}" for number in range(16)), 0)
            done = asyncio.Event()

            async def count(key: str) -> None:
                for expected in range(1, 41):
                    assert await client.increment(key) == expected
                    counts[key] = expected

            async def cut() -> None:
                while not done.is_set():
                    for bucket in store.buckets:
                        bucket.wire.cut()
                        before = sum(counts.values())
                        await until(lambda before=before: done.is_set() or sum(counts.values()) > before + 8)  # type: ignore[misc]

            cutting = asyncio.create_task(cut())
            await asyncio.gather(*map(count, counts))
            done.set()
            await cutting
            assert set(counts.values()) == {40}


@run_async
async def test_an_answer_that_was_lost_is_given_again() -> None:
    async with local_store(1) as store:
        await store.directory()
        async with inside(store) as client:
            await client.put("k", "0")
            (bucket,) = store.buckets
            bucket.wire.mute_replies = True
            records = bucket.records
            counting = asyncio.create_task(client.increment("k", 5))
            creating = asyncio.create_task(client.create("new", b"x"))
            await until(lambda: len(bucket.records) > len(records))
            bucket.wire.cut()
            bucket.wire.mute_replies = False
            assert await counting == 5
            assert (await creating).created, "it was the one that made it"
            assert await client.get_text("k") == "5"


@run_async
async def test_a_bucket_that_goes_is_waited_for() -> None:
    async with local_store(2) as store:
        await store.directory()
        async with inside(store) as client:
            values = {f"k{number}": str(number) for number in range(300)}
            await client.put_many(values)
            await store.buckets[0].crash()
            one = asyncio.create_task(client.get_many(values))
            other = asyncio.create_task(client.put_many({key: value + "!" for key, value in values.items()}))
            many = [asyncio.create_task(client.put(f"m{number}", b"x")) for number in range(700)]
            await until(lambda: any(task.done() for task in many))
            await store.buckets[0].start()
            assert len(await one) == 300
            assert await other == 300
            assert all([(await task).created for task in many])
            assert {key: each.text for key, each in (await client.get_many(values)).items()} == {
                key: value + "!" for key, value in values.items()
            }


@run_async
async def test_at_the_deadline_it_says_what_is_known() -> None:
    async with local_store(1) as store:
        await store.directory()
        async with inside(store, 0.6) as client:
            await client.put("k", b"x")
            (bucket,) = store.buckets
            bucket.wire.mute_replies = True
            with pytest.raises(OutcomeUnknown):
                await client.put("k", b"y")
            with pytest.raises(Unavailable):
                await client.get("k")
            with pytest.raises(SomeFailed) as failed:
                await client.put_many({"a": b"1", "b": b"2"})
            assert {type(error) for error in failed.value.errors.values()} == {OutcomeUnknown}
            bucket.wire.mute_replies = False
            await bucket.crash()
            for call in (client.put("k", b"z"), client.get("k"), client.exists("k"), client.increment("n")):
                with pytest.raises(Unavailable):
                    await call
            with pytest.raises(Unavailable):
                async for _ in client.list():
                    pass
            with pytest.raises(Unavailable):
                async for _ in client.watch():
                    pass


@run_async
async def test_keys_move_under_it(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)
    async with local_store(4) as store:
        directory = await store.directory(1)
        async with inside(store) as client:
            values = {f"k{number:03}": f"{number}" for number in range(400)}
            await client.put_many(values)
            ended = asyncio.Event()
            told: list[str] = []

            async def follow() -> None:
                async for event in client.watch("w"):
                    told.append(event.key)

            async def use(number: int) -> None:
                rounds = 0
                while not ended.is_set():
                    rounds += 1
                    assert await client.increment(f"w{number}") == rounds
                    assert (await client.get_text(f"k{number:03}")) == str(number)
                    assert [each.name async for each in client.list("k")] == sorted(values)

            following = asyncio.create_task(follow())
            users = [asyncio.create_task(use(number)) for number in range(6)]
            for count in (4, 3, 1, 2):
                directory.configuration.follow(count)
                await until(lambda count=count: settled(directory, count), 60)  # type: ignore[misc]
            ended.set()
            await asyncio.gather(*users)
            await client.put("wend", b"")
            await until(lambda: "wend" in told)
            following.cancel()
            for number in range(6):
                assert str(told.count(f"w{number}")) == await client.get_text(f"w{number}"), "each is told, and once"
