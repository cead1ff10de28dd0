"""A store that has lost a bucket's volume, and an operator who accepts that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serve_app.cli.buckets import Buckets
from serve_app.cli.loss import Loss, accept, find_loss
from serve_app.cli.verification import verify
from serve_app.directory.directory import Directory
from serve_app.settings import Limits
from serve_app.topology import Topology
from tests.support.asking import get, put
from tests.support.local_store import TEST_LIMITS, LocalStore, local_store, until
from tests.support.memory_engine import new_bucket_engine

KEYS = [b"key-%d" % n for n in range(300)]


@asynccontextmanager
async def filled_store(
    buckets: int = 2, *, configured: int | None = None, limits: Limits = TEST_LIMITS
) -> AsyncIterator[tuple[LocalStore, Directory]]:
    """A store with KEYS in it, whose every bucket knows the topology."""
    async with local_store(buckets, limits) as store:
        directory = await store.directory(configured)
        for key in KEYS:
            await put(directory, key, b"value of " + key, "text/plain")
        await until(lambda: all(known(store, bucket_id) for bucket_id in range(configured or buckets)))
        yield store, directory


def known(store: LocalStore, bucket_id: int) -> Topology | None:
    server = store.buckets[bucket_id].server
    return None if server is None else server.bucket.standing.topology


async def lose(store: LocalStore, bucket_id: int) -> None:
    """The volume comes back empty."""
    await store.buckets[bucket_id].come_back_with(new_bucket_engine(bucket_id))


async def found(store: LocalStore, bucket_id: int) -> Loss:
    async with Buckets(store, find_timeout_s=0.5) as buckets:
        return await find_loss(buckets, bucket_id)


async def accepted(store: LocalStore, bucket_id: int, untellable: set[int] | None = None) -> Topology:
    async with Buckets(store, find_timeout_s=0.5) as buckets:
        topology, untold = await accept(buckets, await find_loss(buckets, bucket_id))
        assert untold.keys() == (untellable or set())
        return topology


async def check_whole(store: LocalStore) -> None:
    async with Buckets(store) as buckets:
        verification = await verify(buckets)
        assert verification.problems == []


async def check_keys(directory: Directory, lost: set[bytes]) -> None:
    """Every key but the lost ones has its value, and the lost ones have none, or theirs."""
    for key in KEYS:
        value = await get(directory, key)
        assert value == b"value of " + key or (value is None and key in lost), key
