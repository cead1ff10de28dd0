"""`kill -9` in the middle of moves, up and down, under load: sources, targets, bucket 0, directories, all of Ray.

The move goes on from where it was, the history is linearizable, and every key is at home at the end.
"""

from __future__ import annotations

import copy
import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from serve_app.placement import bucket_of
from tests.crash.test_kill import check
from tests.support.load import Load
from tests.support.reconfigure import deploy, settled, wait_for_topology
from tests.support.running_store import RunningStore

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

MOVES = (3, 1, 2)
KILLS_PER_MOVE = 3
#: Records of 1 KB that make a move last for some 10 s at the rate.
RECORDS = 5_000
RATE_BYTES_PER_S = 200_000


def fill(store: RunningStore) -> dict[str, str]:
    values = {f"filler-{n}": f"{n:04d}" * 250 for n in range(RECORDS)}
    with store.client() as client:
        for key, value in values.items():
            assert client.put("/put", params={"key": key}, content=value).status_code == 200
    return values


def configure(store: RunningStore, tmp_path: Path, count: int) -> None:
    document = copy.deepcopy(store.document)
    document["applications"][0]["deployments"][0]["user_config"] = {"bucket_count": count}
    store.document = document
    deploy(store, tmp_path, document)


def wait_until_moving(store: RunningStore, timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    with store.client() as client:
        while True:
            answer = client.get("/topology")
            if answer.status_code == 200 and any(bucket["moved"] for bucket in answer.json()["buckets"]):
                return
            assert time.monotonic() < deadline_s, answer.text
            time.sleep(0.02)


def kill_something(store: RunningStore, rng: random.Random) -> str:
    """A bucket most of the time, bucket 0 among them; sometimes a directory."""
    if rng.random() < 0.2:
        victim, what = rng.choice(store.directory_pids()), "directory"
    else:
        pids = sorted(store.bucket_processes())
        victim, what = rng.choice(pids), "bucket"
    os.kill(victim, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(victim)] if psutil.pid_exists(victim) else [], timeout=10)
    return what


def check_homes(store: RunningStore, values: dict[str, str], count: int) -> None:
    with store.client() as client:
        for key, value in values.items():
            answer = client.get(f"/get/{key}").json()
            assert (answer["value"], answer["bucket_id"]) == (value, bucket_of(key.encode(), count)), key


def test_moves_go_on_whoever_is_killed(tmp_path: Path) -> None:
    limits = {"move_bytes_per_s": RATE_BYTES_PER_S}
    with RunningStore(tmp_path, bucket_count=2, directories=2, args={"limits": limits}) as store:
        values = fill(store)
        load = Load(store.url, seed=3).start()
        rng = random.Random(3)
        kills: list[str] = []
        try:
            for count in MOVES:
                configure(store, tmp_path, count)
                wait_until_moving(store)
                for _ in range(KILLS_PER_MOVE):
                    load.wait_for(rng.randrange(20, 120))
                    kills.append(kill_something(store, rng))
                wait_for_topology(store, settled(count))
        finally:
            load.stop()
        print(f"killed while keys moved: {kills}")
        check(load)
        check_homes(store, values, MOVES[-1])


def test_a_move_goes_on_after_all_of_ray_was_killed(tmp_path: Path) -> None:
    store = RunningStore(tmp_path, bucket_count=2, args={"limits": {"move_bytes_per_s": RATE_BYTES_PER_S}})
    store.start()
    values = fill(store)
    load = Load(store.url, seed=4).start()
    try:
        configure(store, tmp_path, 3)
        wait_until_moving(store)
        load.wait_for(100)
        assert store.process is not None
        everything = [psutil.Process(store.process.pid), *store.processes()]
        for process in everything:
            process.kill()
        store.process.wait(10)
        psutil.wait_procs(everything, timeout=10)
        store.start()
        wait_for_topology(store, settled(3))
    finally:
        load.stop()
    try:
        check(load)
        check_homes(store, values, 3)
    finally:
        store.stop()
