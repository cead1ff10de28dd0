"""One client at work, in a process of its own: `python -m benchmarks.apps.client_load KIND WHERE KEYS SECONDS`.

WHERE is a URL, or the address of a Ray. Prints one line of JSON: what came out, by name.
"""

from __future__ import annotations

import asyncio
import json
import logging
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.keys import key_name, value_of

Figures = dict[str, float]
_VALUE_BYTES = 100
#: What no other number of keys shares.
_STEP = 7919


def http_sync(url: str, keys: int, seconds: float) -> Figures:
    """One thread: the median GET, in ms, and CPU, in µs for each."""
    from cloud_storage import Store

    with Store(url) as store:
        return _one_by_one(store, keys, seconds)


def http_async(url: str, keys: int, seconds: float) -> Figures:
    """32 at once: GETs and PUTs a second, and CPU in µs for each."""
    from cloud_storage import AsyncStore

    async def run() -> Figures:
        async with AsyncStore(url) as store:
            found = await _at_once(32, keys, seconds, "get", lambda number: store.get(key_name(number)))
            return found | await _at_once(
                32, keys, seconds, "put", lambda number: store.put(key_name(number), _value(number))
            )

    return asyncio.run(run())


def http_many(url: str, keys: int, seconds: float) -> Figures:
    """100,000 keys by put_many, and by get_many: keys a second."""
    from cloud_storage import Store

    with Store(url) as store:
        return _many(store)


def inside(address: str, keys: int, seconds: float) -> Figures:
    """From asyncio: 64 under way, one at a time, and many keys."""
    import uvloop

    import serve_app

    _join(address)

    async def run() -> Figures:
        async with await serve_app.connect_async() as store:
            found = await _at_once(64, keys, seconds, "get", lambda number: store.get(key_name(number)))
            found |= await _at_once(
                64, keys, seconds, "put", lambda number: store.put(key_name(number), _value(number))
            )
            one = await _at_once(1, keys, seconds, "get", lambda number: store.get(key_name(number)))
            return found | {"one_get_us": 1e6 / one["get_per_s"]}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def inside_many(address: str, keys: int, seconds: float) -> Figures:
    """As `http_many`."""
    import serve_app

    _join(address)
    with serve_app.connect() as store:
        return _many(store)


def task(address: str, keys: int, seconds: float) -> Figures:
    """A task of Ray: a sync store's median GET, in ms."""
    import ray

    _join(address)

    @ray.remote(num_cpus=0)
    def work() -> Figures:
        import serve_app

        with serve_app.connect() as store:
            return _one_by_one(store, keys, seconds)

    found: Figures = ray.get(work.remote())
    return found


def _join(address: str) -> None:
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)


def _value(number: int) -> bytes:
    return value_of(number, _VALUE_BYTES)


def _one_by_one(store: Any, keys: int, seconds: float) -> Figures:
    took_s: list[float] = []
    end_s, cpu_s = time.perf_counter() + seconds, time.process_time()
    number = 0
    while (begun_s := time.perf_counter()) < end_s:
        number = (number + _STEP) % keys
        assert store.get(key_name(number)) is not None
        took_s.append(time.perf_counter() - begun_s)
    cpu_s = time.process_time() - cpu_s
    middle_s = statistics.median(took_s)
    return {"p50_ms": middle_s * 1e3, "mean_ms": statistics.fmean(took_s) * 1e3, "cpu_us": cpu_s / len(took_s) * 1e6}


async def _at_once(count: int, keys: int, seconds: float, name: str, do: Callable[[int], Awaitable[object]]) -> Figures:
    done = 0
    begun_s, cpu_s = time.perf_counter(), time.process_time()

    async def worker(number: int) -> None:
        nonlocal done
        while time.perf_counter() - begun_s < seconds:
            number = (number + _STEP) % keys
            assert await do(number) is not None
            done += 1

    await asyncio.gather(*map(worker, range(count)))
    took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    return {f"{name}_per_s": done / took_s, f"{name}_cpu_us": cpu_s / done * 1e6}


def _many(store: Any) -> Figures:
    names = [f"many/{number}" for number in range(100_000)]
    begun_s = time.perf_counter()
    assert store.put_many((name, _value(number)) for number, name in enumerate(names)) == len(names)
    put_s = time.perf_counter() - begun_s
    begun_s = time.perf_counter()
    assert len(store.get_many(names)) == len(names)
    return {"puts_per_s": len(names) / put_s, "gets_per_s": len(names) / (time.perf_counter() - begun_s)}


KINDS = {each.__name__: each for each in (http_sync, http_async, http_many, inside, inside_many, task)}


if __name__ == "__main__":
    kind, where, keys, seconds = sys.argv[1:]
    print(json.dumps(KINDS[kind](where, int(keys), float(seconds))), flush=True)
