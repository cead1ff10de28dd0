"""Bringing every system to a number of keys, each by its own normal writes."""

from __future__ import annotations

import asyncio
import base64
import importlib
import time
from typing import Any

import httpx
import psutil

from benchmarks.failure import BenchmarkFailed
from benchmarks.keys import key_name, value_of
from benchmarks.stage import Stage
from benchmarks.systems import ETCD, OBVIOUS, REDIS, STORE, TOKENS
from benchmarks.wrk import Target

# Keys a request to the loader writes: few seconds' worth, so that no timeout on the way matters.
_STORE_BATCH_KEYS = 50_000
_STORE_BATCH_TIMEOUT_S = 120.0
_REDIS_BATCH_KEYS = 10_000
_OBVIOUS_CONNECTIONS = 16
_BATCH_KEYS = 500
_ETCD_BATCH_KEYS = 128  # the most that one of its transactions takes
_SETTLE_TIMEOUT_S = 120.0
_SETTLED_CPU_SHARE = 0.1


def fill(stage: Stage, first: int, count: int, value_bytes: int) -> None:
    """Write keys number `first` to `first + count - 1` into every system of the stage that keeps any."""
    if STORE in stage.systems:
        fill_store(stage, first, count, value_bytes)
        check_count(stage, first + count)
    if TOKENS in stage.systems:
        fill_by_batches(stage.target(TOKENS), first, count, value_bytes)
    if OBVIOUS in stage.systems:
        asyncio.run(_fill_obvious(stage.target(OBVIOUS).url, first, count, value_bytes))
    if REDIS in stage.systems:
        _fill_redis(stage.redis_port, first, count, value_bytes)
    if ETCD in stage.systems:
        _fill_etcd(stage.target(ETCD).url, first, count, value_bytes)


def fill_by_batches(target: Target, first: int, count: int, value_bytes: int) -> float:
    """As `fill`, for a store that is asked by `/v1` as any client would; the writes per second.

    Raises:
        BenchmarkFailed: not all of it was taken.
    """
    started_s = time.monotonic()
    headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    with httpx.Client(timeout=_STORE_BATCH_TIMEOUT_S, headers=headers) as client:
        for start in range(first, first + count, _BATCH_KEYS):
            numbers = range(start, min(start + _BATCH_KEYS, first + count))
            puts = [{"op": "put", "key": key_name(n), "value": value_of(n, value_bytes).decode()} for n in numbers]
            answer = client.post(f"{target.url}/v1/batch", json={"operations": puts})
            if answer.status_code != 200 or any(each["status"] > 201 for each in answer.json()["results"]):
                raise BenchmarkFailed(f"the store could not be filled: {answer.status_code} {answer.text[:200]}")
    return count / (time.monotonic() - started_s)


def fill_store(stage: Stage, first: int, count: int, value_bytes: int) -> float:
    """As `fill`, for the store alone; the writes per second."""
    started_s = time.monotonic()
    with httpx.Client(timeout=_STORE_BATCH_TIMEOUT_S) as client:
        for start in range(first, first + count, _STORE_BATCH_KEYS):
            batch = min(_STORE_BATCH_KEYS, first + count - start)
            wanted = {"first": start, "count": batch, "value_bytes": value_bytes, "bucket_count": stage.bucket_count}
            answer = client.post(f"{stage.loader_url}/load", params=wanted)
            if answer.status_code != 200:
                raise BenchmarkFailed(f"the store could not be filled: {answer.status_code} {answer.text[:200]}")
    return count / (time.monotonic() - started_s)


def check_count(stage: Stage, wanted: int) -> None:
    """The store counts its keys exactly: what was acknowledged must be there.

    Raises:
        BenchmarkFailed: it is not.
    """
    counted = sum(bucket["keys"] for bucket in stage.store.wait_reachable()["buckets"])
    if counted != wanted:
        raise BenchmarkFailed(f"the store should hold {wanted:,} keys and counts {counted:,}")


async def _fill_obvious(url: str, first: int, count: int, value_bytes: int) -> None:
    numbers = iter(range(first, first + count))

    async def work(client: httpx.AsyncClient) -> None:
        for number in numbers:
            wanted = {"key": key_name(number), "value": value_of(number, value_bytes).decode()}
            (await client.put(f"{url}/put", params=wanted)).raise_for_status()

    async with httpx.AsyncClient(timeout=30.0) as client, asyncio.TaskGroup() as group:
        for _ in range(_OBVIOUS_CONNECTIONS):
            group.create_task(work(client))


def _fill_redis(port: int, first: int, count: int, value_bytes: int) -> None:
    client: Any = importlib.import_module("redis").Redis(host="127.0.0.1", port=port)
    with client:
        for start in range(first, first + count, _REDIS_BATCH_KEYS):
            pipeline = client.pipeline(transaction=False)
            for number in range(start, min(start + _REDIS_BATCH_KEYS, first + count)):
                pipeline.set(key_name(number), value_of(number, value_bytes))
            pipeline.execute()


def _fill_etcd(url: str, first: int, count: int, value_bytes: int) -> None:
    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    with httpx.Client(timeout=30.0) as client:
        for start in range(first, first + count, _ETCD_BATCH_KEYS):
            puts = [
                {"requestPut": {"key": encoded(key_name(n).encode()), "value": encoded(value_of(n, value_bytes))}}
                for n in range(start, min(start + _ETCD_BATCH_KEYS, first + count))
            ]
            client.post(f"{url}/v3/kv/txn", json={"success": puts}).raise_for_status()


def settle(stage: Stage) -> None:
    """Wait until what the filling left to do in the background (compaction, rewriting a log) is done.

    Raises:
        BenchmarkFailed: it does not end.
    """
    deadline_s = time.monotonic() + _SETTLE_TIMEOUT_S
    while time.monotonic() < deadline_s:
        pids = [stage.store.bucket_pid(bucket_id) for bucket_id in range(stage.bucket_count)]
        pids += [process.pid for process in stage.back_ends.values()]
        processes = [psutil.Process(pid) for pid in pids if pid is not None]
        for process in processes:
            process.cpu_percent()  # starts the interval
        time.sleep(1.0)
        if all(process.cpu_percent() < 100 * _SETTLED_CPU_SHARE for process in processes):
            return
    raise BenchmarkFailed(f"the systems are still at work {_SETTLE_TIMEOUT_S:.0f} s after they were filled")
