"""Moving keys: how fast a pair of buckets moves them alone, what clients notice of it, and what memory it takes.

The store is filled with values of 1 KB in one bucket and moved to two with nobody at work, then back to one bucket under the
90/10 load, with the limits that ship, `move_bytes_per_s` among them. A move has begun, and is over, when /topology says so.

Memory is the highest that each of the two processes had in the first move, beyond what it had just before: for the target,
which is started for the move, what a bucket has that is empty. It is taken for two sizes of the store. Both are far larger
than what the buckets may keep in caches and write buffers, or the smaller one would look thrifty for not having filled
them yet (30,000 keys do not).
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks import wrk
from benchmarks.bars import of_move
from benchmarks.failure import BenchmarkFailed
from benchmarks.filling import check_count, fill_store, settle
from benchmarks.memory import bucket_resident
from benchmarks.move_figures import Alone, Move
from benchmarks.stage import Stage
from benchmarks.systems import STORE
from harness.memory import PeakMemory
from harness.reconfigure import deploy
from harness.running_store import ROOT
from serve_app.settings import Limits

KEYS = 300_000
MORE_KEYS = 1_000_000
VALUE_BYTES = 1000
CONNECTIONS = 32
_TIMEOUT_S = 300.0


def measure(folder: Path, *, keys: int, more_keys: int, seconds: int, say: Callable[[str], None]) -> Move:
    """Run it, with stores of its own.

    Raises:
        BenchmarkFailed: something did not succeed.
    """
    folder.mkdir()
    with Stage(folder / "larger", [STORE], bucket_count=1) as stage:
        larger = _move_alone(stage, more_keys, say)
    with Stage(folder / "smaller", [STORE], bucket_count=1) as stage:
        alone = _move_alone(stage, keys, say)
        settle(stage)
        load = wrk.Load("mix", CONNECTIONS, keys, VALUE_BYTES)
        before = wrk.run(stage.target(STORE), load, seconds=seconds, seed=1, folder=stage.folder)
        with _configuring(stage, 1):
            pass
        started_s, started = _until(
            stage, lambda body: body["phase"] == "moving" and body["buckets"][1]["moved"] is not None
        )
        during = wrk.run(stage.target(STORE), load, seconds=seconds, seed=2, folder=stage.folder)
        ended_s, ended = _until(stage, lambda body: body["buckets"][-1]["moved"] is not None)
        if ended["phase"] != "moving":
            raise BenchmarkFailed("the move was over before the load was: use more keys")
        loaded = (ended["buckets"][1]["moved"] - started["buckets"][1]["moved"]) / (ended_s - started_s)
        _follow(stage, 1)
        check_count(stage, keys)
        say(f"under load, back to one: {loaded:,.0f} a second; p99 {before.p99_ms:.1f} → {during.p99_ms:.1f} ms")
        # The configuration that is run sets no limits, so these are in force.
        return Move(VALUE_BYTES, Limits().move_bytes_per_s, alone, larger, loaded, before, during)


def _move_alone(stage: Stage, keys: int, say: Callable[[str], None]) -> Alone:
    """Fill the store's one bucket and let half of it go to a second one."""
    empty = bucket_resident(stage, 0).resident_bytes
    fill_store(stage, 0, keys, VALUE_BYTES)
    settle(stage)
    source = stage.store.bucket_pid(0)
    assert source is not None, "it was filled just now"
    memory = PeakMemory([source])
    # A move begins while the command that asks for it is still at work.
    with _configuring(stage, 2):
        took_s = _follow(stage, 2)
    moved = stage.store.wait_reachable()["buckets"][1]["keys"]
    check_count(stage, keys)
    # The target is started for the move, which is all that it has done.
    grown = memory.growth_bytes(source), bucket_resident(stage, 1).peak_bytes - empty
    say(f"{moved:,} keys of 1 KB moved from one bucket to two in {took_s:.1f} s: {moved / took_s:,.0f} a second")
    say(f"  at their peaks, source and target took {grown[0] / 1e6:.0f} and {grown[1] / 1e6:.0f} MB more than before")
    return Alone(keys, moved / took_s, *grown)


@contextlib.contextmanager
def _configuring(stage: Stage, count: int) -> Iterator[None]:
    """`serve deploy` another number of buckets, while the block runs."""
    stage.store.document["applications"][0]["deployments"][0]["user_config"] = {"bucket_count": count}
    with ThreadPoolExecutor(1) as pool:
        deploying = pool.submit(deploy, stage.store, stage.folder, stage.store.document)
        yield
        deploying.result()


def _topology(stage: Stage) -> dict[str, Any]:
    body: dict[str, Any] = httpx.get(f"{stage.store.url}/topology", timeout=10).raise_for_status().json()
    return body


def _until(stage: Stage, condition: Callable[[dict[str, Any]], bool]) -> tuple[float, dict[str, Any]]:
    """Wait for a topology; the moment it was there (monotonic seconds), and it."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    while not condition(found := _topology(stage)):
        if time.monotonic() > deadline_s:
            raise BenchmarkFailed(f"waited in vain: {found}")
        time.sleep(0.02)
    return time.monotonic(), found


def _follow(stage: Stage, count: int) -> float:
    """Seconds from the beginning of the move to its end."""
    began_s, _ = _until(stage, lambda body: body["phase"] == "moving" or body["bucket_count"] == count)
    ended_s, _ = _until(stage, lambda body: (body["phase"], body["bucket_count"]) == ("stable", count))
    return ended_s - began_s


def main() -> None:
    """This measurement alone: `python -m benchmarks.moving`."""
    wrk.require_wrk()
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        move = measure(Path(folder) / "moving", keys=KEYS, more_keys=MORE_KEYS, seconds=5, say=print)
    for bar in of_move(move):
        print(f"{bar.figure}: {bar.measured}, promised {bar.wanted}{'' if bar.met else ' (missed)'}")


if __name__ == "__main__":
    main()
