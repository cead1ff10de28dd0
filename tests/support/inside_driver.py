"""A program inside a store's Ray cluster: `python -m tests.support.inside_driver ADDRESS STOP TASKS`.

So many tasks and one actor count and put by `serve_app.connect` and `connect_async`, until the file STOP is there. Prints
`working`, then one line of JSON: what each was answered.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import time
from pathlib import Path
from typing import Any

import ray

import serve_app

COUNTERS = 8
#: What is remembered of each write moves with its key, and the store of the tests moves keys slowly.
PAUSE_S = 0.05


@ray.remote(num_cpus=0)
def work(number: int, stop: str, begun: Any) -> dict[str, Any]:
    """By the sync store. numbers: what the increments of each counter were answered with."""
    rng = random.Random(number)
    told: dict[str, Any] = {"numbers": {}, "values": {}}
    store = serve_app.connect(timeout=60)
    while not Path(stop).exists():
        counter = f"inside/n{rng.randrange(COUNTERS)}"
        told["numbers"].setdefault(counter, []).append(store.increment(counter))
        key, value = f"inside/{number}/{rng.randrange(50)}", str(rng.random())
        store.put(key, value)
        told["values"][key] = value
        key = rng.choice(list(told["values"]))
        found = store.get_text(key)
        assert found == told["values"][key], f"{key}: {found} is not {told['values'][key]}"
        if len(told["values"]) == 1:
            begun.add.remote(number)
        time.sleep(PAUSE_S)
    store.close()
    return told


@ray.remote(num_cpus=0)
class Actor:
    """The same by the async store, many at once."""

    async def work(self, number: int, stop: str, begun: Any) -> dict[str, Any]:
        told: dict[str, Any] = {"numbers": {}, "values": {}}
        async with await serve_app.connect_async(timeout=60) as store:

            async def one(which: int) -> None:
                key = f"inside/{number}/{which}"
                while not Path(stop).exists():  # noqa: ASYNC240
                    counter = f"inside/n{which % COUNTERS}"
                    told["numbers"].setdefault(counter, []).append(await store.increment(counter))
                    value = str(random.random())
                    assert await store.put_many({key: value, key + "b": value}) == 2
                    told["values"] |= {key: value, key + "b": value}
                    assert (await store.get_many([key]))[key].text == value
                    await asyncio.sleep(4 * PAUSE_S)

            begun.add.remote(number)
            await asyncio.gather(*map(one, range(16)))
        return told


@ray.remote(num_cpus=0)
class Begun:
    """Who has done something."""

    def __init__(self) -> None:
        self._who: set[int] = set()

    def add(self, who: int) -> None:
        self._who.add(who)

    def count(self) -> int:
        return len(self._who)


def main() -> None:
    address, stop, tasks = sys.argv[1], sys.argv[2], int(sys.argv[3])
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    begun = Begun.remote()  # type: ignore[attr-defined]
    working = [work.remote(number, stop, begun) for number in range(tasks)]
    working.append(Actor.remote().work.remote(tasks, stop, begun))  # type: ignore[attr-defined]
    while ray.get(begun.count.remote()) <= tasks:
        ready, _ = ray.wait(working, timeout=0)
        ray.get(ready)  # what has ended already has failed
        time.sleep(0.05)
    print("working", flush=True)
    print(json.dumps(ray.get(working)), flush=True)


if __name__ == "__main__":
    main()
