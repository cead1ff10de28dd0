"""The Redis protocol while buckets and directories are killed and keys move: what its clients saw is linearizable, and what
they were answered is there, by HTTP too."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.reconfigure import settled, wait_for_topology
from harness.running_store import RunningStore, free_port
from tests.crash.conftest import MOVE_BYTES_PER_S
from tests.crash.history import check
from tests.support.moves import configure, put_all, total, wait_for_move
from tests.support.redis_load import RedisLoad

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

VALUES = {f"lying-{number}": f"{number}" * 200 for number in range(800)}


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[RunningStore]:
    """Two directories that share a port."""
    args = {"redis": {"port": port}, "limits": {"move_bytes_per_s": MOVE_BYTES_PER_S}}
    with RunningStore(tmp_path_factory.mktemp("redis"), bucket_count=2, directories=2, args=args) as running:
        yield running


def test_kills_and_a_move_under_load(
    store: RunningStore, port: int, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    put_all(store, VALUES)
    rng = random.Random(1)
    load = RedisLoad(store.url, port, seed=7).start()
    try:
        load.wait_for(200)
        for victim in (0, 1, None, 0):
            if victim is None:
                store.kill_directory(min)
            else:
                store.kill_bucket(victim)
            store.wait_reachable()
            load.wait_for(rng.randrange(100, 300))
        configure(store, tmp_path, 3)
        wait_for_move(store, 3, lambda body: total(body, "moved") > 0)
        store.kill_bucket(1)
        store.wait_reachable()
        store.kill_directory(min)
        wait_for_topology(store, settled(3))
        load.wait_for(300)
    finally:
        load.stop()
    tell(check(load)[1])
