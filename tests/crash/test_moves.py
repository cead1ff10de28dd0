"""`kill -9` in the middle of moves, up and down, under load: each party to a move in turn, and all of Ray.

Each victim is killed when a known share of the keys has moved and a known share has not, by the store's own word a moment
before, so every kill counted here fell in a move. Afterwards the history is linearizable, every acknowledged write is
read back, and `verify`, which reads every record of every bucket, finds each key once and at home.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.reconfigure import settled, wait_for_topology
from harness.running_store import RunningStore
from tests.crash.history import check
from tests.support.commands import check_whole
from tests.support.load import Load
from tests.support.moves import check_all, configure, put_all, total, wait_for_move, with_buckets

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

#: Records of 1 KB, two thirds of which move between 2 and 3 buckets, for some 20 s at the store's rate.
RECORDS = 3_000
MOVING = RECORDS * 2 // 3
VALUES = {f"filler-{n}": f"{n:04d}" * 250 for n in range(RECORDS)}
#: "Many have not moved": at least this share. Usually it is half or more.
MANY = MOVING // 5


@pytest.fixture(scope="module")
def filled(crash_store: RunningStore) -> RunningStore:
    """The store with VALUES in it."""
    put_all(crash_store, VALUES)
    return crash_store


class Victims:
    """Kills what takes part in one move, and keeps a line for each."""

    def __init__(self, store: RunningStore, count: int, source: int, target: int) -> None:
        """The move to `count` buckets. source is not bucket 0, which has a turn of its own: it is the authority."""
        self.store, self.count, self.source, self.target = store, count, source, target
        self.kills: list[str] = []
        self._moved: dict[int, int] = {}

    def kill(self, kind: str, moved: int, rng: random.Random) -> None:
        """Kill one when at least this many keys have moved."""
        body = wait_for_move(self.store, self.count, lambda body: total(body, "moved") >= moved)
        self._check_in_the_middle(kind, body)
        if kind == "all of Ray":
            self.store.kill_everything()
            self.store.start()
        else:
            self._kill_one(kind, rng)
        self.kills.append(f"{kind} ({total(body, 'moved')}/{total(body, 'remaining')})")

    def _kill_one(self, kind: str, rng: random.Random) -> None:
        """The process is found by the database that it has open, or by its title."""
        if kind == "directory":
            self.store.kill_directory(rng.choice)
        else:
            self.store.kill_bucket({"source": self.source, "target": self.target, "bucket 0": 0}[kind])

    def _check_in_the_middle(self, kind: str, body: dict[str, Any]) -> None:
        assert body["phase"] == "moving"
        assert total(body, "moved") > 0
        assert total(body, "remaining") >= MANY, f"too few are left to call it the middle of a move: {body}"
        buckets = {bucket["bucket_id"]: bucket for bucket in body["buckets"]}
        if kind == "source":
            assert buckets[self.source]["moved"] > 0
            assert buckets[self.source]["remaining"] > 0
        if kind == "target":
            assert buckets[self.target]["keys"] > 0
        # Whoever was killed before has gone on from where it was.
        for bucket_id, bucket in buckets.items():
            assert bucket["moved"] >= self._moved.get(bucket_id, 0), body
            self._moved[bucket_id] = bucket["moved"]


@pytest.mark.parametrize(
    ("before", "after", "source", "target", "seed"),
    [pytest.param(2, 3, 1, 2, 3, id="growing"), pytest.param(3, 2, 2, 1, 4, id="shrinking")],
)
def test_a_move_goes_on_whoever_is_killed(
    filled: RunningStore,
    tmp_path: Path,
    tell: Callable[[str], None],
    before: int,
    after: int,
    source: int,
    target: int,
    seed: int,
) -> None:
    store, rng = filled, random.Random(seed)
    with_buckets(store, tmp_path, before)
    keys = total(store.wait_reachable(), "keys")
    kinds = ["source", "target", "bucket 0", "directory", "all of Ray"]
    rng.shuffle(kinds)
    victims = Victims(store, after, source, target)
    load = Load(store.url, seed=seed).start()
    try:
        configure(store, tmp_path, after)
        for number, kind in enumerate(kinds, 1):
            victims.kill(kind, MOVING * number // 10, rng)
        wait_for_topology(store, settled(after))
        load.wait_for(100)
    finally:
        load.stop()
    tell(f"kills (keys moved/remaining just before): {', '.join(victims.kills)}")
    present, said = check(load)
    tell(said)
    check_all(store, VALUES, homes=after)
    check_whole(store.processes(), keys + present)
