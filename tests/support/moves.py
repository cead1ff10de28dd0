"""A real store whose keys are on the move: starting a move, how far it has come, and where the keys are afterwards."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from harness.reconfigure import deploy, settled, wait_for_topology
from harness.running_store import RunningStore
from serve_app.placement import bucket_of

_CLIENTS = 8


def put_all(store: RunningStore, values: Mapping[str, str]) -> None:
    """Every put is acknowledged."""

    def put(client: httpx.Client, key: str) -> None:
        answer = client.put("/put", params={"key": key}, content=values[key])
        assert answer.status_code == 200, answer.text

    _of_each(store, list(values), put)


def check_all(store: RunningStore, values: Mapping[str, str], homes: int | None = None) -> None:
    """Every key has its value, and is answered for by its home among this many buckets, where a number is given."""

    def check(client: httpx.Client, key: str) -> None:
        answer = client.get(f"/get/{key}")
        assert answer.status_code == 200, (key, answer.text)
        found = answer.json()
        assert found["value"] == values[key], key
        assert homes is None or found["bucket_id"] == bucket_of(key.encode(), homes), (key, found["bucket_id"])

    _of_each(store, list(values), check)


def configure(store: RunningStore, folder: Path, count: int) -> None:
    """`serve deploy` another number of buckets. The store is also started with it from now on."""
    document = copy.deepcopy(store.document)
    document["applications"][0]["deployments"][0]["user_config"] = {"bucket_count": count}
    store.document = document
    deploy(store, folder, document)


def with_buckets(store: RunningStore, folder: Path, count: int) -> None:
    """See to it that the store has this many buckets and nothing moves, whatever an earlier test has left."""
    body = store.wait_reachable()
    if (body["phase"], body["bucket_count"]) != ("stable", count):
        configure(store, folder, count)
        wait_for_topology(store, settled(count))


def wait_for_move(
    store: RunningStore, count: int, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 60.0
) -> dict[str, Any]:
    """Wait until every bucket is there and knows of the move to `count` buckets, and it has come as far as `condition` says.

    The answer of /topology that said so. A move that is over by then is a failure: what was meant to happen in the middle
    of it would not.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        body = store.wait_reachable()
        assert (body["phase"], body["bucket_count"]) != ("stable", count), f"the move is over already: {body}"
        told = all(bucket["moved"] is not None for bucket in body["buckets"])
        if body["phase"] == "moving" and told and condition(body):
            return body
        assert time.monotonic() < deadline_s, body
        time.sleep(0.02)


def total(body: dict[str, Any], field: str) -> int:
    """A number of keys, over all buckets."""
    return sum(bucket[field] for bucket in body["buckets"])


def _of_each(store: RunningStore, keys: list[str], do: Callable[[httpx.Client, str], None]) -> None:
    def work(mine: list[str]) -> None:
        with store.client() as client:
            for key in mine:
                do(client, key)

    with ThreadPoolExecutor(_CLIENTS) as pool:
        for done in [pool.submit(work, keys[start::_CLIENTS]) for start in range(_CLIENTS)]:
            done.result()
