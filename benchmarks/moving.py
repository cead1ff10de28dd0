"""Moving keys: how fast a pair of buckets moves them alone, and what clients notice of it.

The store is filled with values of 1 KB in one bucket and moved to two with nobody at work, then back to one bucket under the
90/10 load, with the rate that ships. A move is over when /topology says so; what it moved is what the bucket that joined, or
left, counts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks import wrk
from benchmarks.failure import BenchmarkFailed
from benchmarks.filling import check_count, fill_store, settle
from benchmarks.stage import Stage
from benchmarks.systems import STORE
from tests.support.reconfigure import deploy
from tests.support.running_store import ROOT

KEYS = 300_000
VALUE_BYTES = 1000
CONNECTIONS = 32
_UNLIMITED = 1 << 40
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Move:
    """alone_keys_per_s: 1 → 2 buckets, nobody at work. loaded: 2 → 1 under load, and the same load before it."""

    keys: int
    value_bytes: int
    alone_keys_per_s: float
    loaded_keys_per_s: float
    before: wrk.Result
    during: wrk.Result


def measure(folder: Path, *, keys: int, seconds: int, say: Callable[[str], None]) -> Move:
    """Run it, with a store of its own.

    Raises:
        BenchmarkFailed: something did not succeed.
    """
    stage = Stage(folder, [STORE], bucket_count=1)
    stage.store.document["applications"][0]["args"]["limits"] = {"move_bytes_per_s": _UNLIMITED}
    with stage:
        fill_store(stage, 0, keys, VALUE_BYTES)
        settle(stage)
        _configure(stage, 2)
        took_s = _follow(stage, 2)
        moved = stage.store.wait_reachable()["buckets"][1]["keys"]
        check_count(stage, keys)
        alone = moved / took_s
        say(f"{moved:,} keys of 1 KB moved from one bucket to two in {took_s:.1f} s: {alone:,.0f} a second")
        settle(stage)
        load = wrk.Load("mix", CONNECTIONS, keys, VALUE_BYTES)
        before = wrk.run(stage.target(STORE), load, seconds=seconds, seed=1, folder=stage.folder)
        _configure(stage, 1)
        began_s = _until(stage, lambda body: body["phase"] == "moving")
        during = wrk.run(stage.target(STORE), load, seconds=seconds, seed=2, folder=stage.folder)
        progress = _topology(stage)
        if progress["phase"] != "moving":
            raise BenchmarkFailed("the move was over before the load was: use more keys")
        loaded = progress["buckets"][1]["moved"] / (time.monotonic() - began_s)
        _follow(stage, 1)
        check_count(stage, keys)
        say(f"under load, back to one: {loaded:,.0f} a second; p99 {before.p99_ms:.1f} → {during.p99_ms:.1f} ms")
        return Move(keys, VALUE_BYTES, alone, loaded, before, during)


def _configure(stage: Stage, count: int) -> None:
    stage.store.document["applications"][0]["deployments"][0]["user_config"] = {"bucket_count": count}
    deploy(stage.store, stage.folder, stage.store.document)


def _topology(stage: Stage) -> dict[str, Any]:
    body: dict[str, Any] = httpx.get(f"{stage.store.url}/topology", timeout=10).raise_for_status().json()
    return body


def _until(stage: Stage, condition: Callable[[dict[str, Any]], bool]) -> float:
    """Wait for a topology; the moment it was there (monotonic seconds)."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    while not condition(_topology(stage)):
        if time.monotonic() > deadline_s:
            raise BenchmarkFailed(f"waited in vain: {_topology(stage)}")
        time.sleep(0.02)
    return time.monotonic()


def _follow(stage: Stage, count: int) -> float:
    """Seconds from the beginning of the move to its end."""
    began_s = _until(stage, lambda body: body["phase"] == "moving" or body["bucket_count"] == count)
    ended_s = _until(stage, lambda body: (body["phase"], body["bucket_count"]) == ("stable", count))
    return ended_s - began_s


def main() -> None:
    """This measurement alone: `python -m benchmarks.moving`."""
    from benchmarks.bars import of_move

    wrk.require_wrk()
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        move = measure(Path(folder) / "moving", keys=KEYS, seconds=5, say=print)
    for bar in of_move(move):
        print(f"{bar.figure}: {bar.measured}, promised {bar.wanted}{'' if bar.met else ' (missed)'}")


if __name__ == "__main__":
    main()
