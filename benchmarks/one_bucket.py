"""One large bucket by itself: how much memory it takes, and how fast it is back after `kill -9`.

The bucket is filled with values of 100 B, killed and reopened, then every value is replaced by one of 1 KB and it is done
again. Each kill comes right behind writes, so that there is a log to replay; the first behind all of them.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import wrk
from benchmarks.failure import BenchmarkFailed
from benchmarks.filling import check_count, fill_store
from benchmarks.keys import key_name
from benchmarks.memory import Resident, bucket_resident
from benchmarks.rounds import reading_s
from benchmarks.stage import Stage
from benchmarks.systems import STORE

VALUE_SIZES_BYTES = (100, 1000)
_CONNECTIONS = 32
_BACK_TIMEOUT_S = 60.0
# Written between kills.
_WRITES_BETWEEN = 50_000


@dataclass(frozen=True)
class Reopening:
    """One `kill -9`. opened_s is the bucket's own word for opening its storage, back_s runs from the kill to an answer."""

    opened_s: float
    back_s: float


@dataclass(frozen=True)
class LargeBucket:
    """One bucket full of values of one size. `filled` is its memory after it was filled, read and written."""

    keys: int
    value_bytes: int
    writes_per_s: float
    filled: Resident
    reopenings: list[Reopening]


def measure(folder: Path, *, keys: int, kills: int, seconds: int, say: Callable[[str], None]) -> list[LargeBucket]:
    """Run it, with a store of its own.

    Raises:
        BenchmarkFailed: something did not succeed, or the bucket did not come back.
    """
    found = []
    with Stage(folder, [STORE], bucket_count=1) as stage:
        for value_bytes in VALUE_SIZES_BYTES:
            writes_per_s = fill_store(stage, 0, keys, value_bytes)
            say(f"one bucket, {keys:,} keys of {value_bytes:,} B: filled with {writes_per_s:,.0f} writes/s")
            _load(stage, "GET", keys, value_bytes, reading_s(keys))
            _load(stage, "mix", keys, value_bytes, seconds)
            filled = bucket_resident(stage, 0)
            say(f"  resident {filled.resident_bytes / 1e6:,.0f} MB, at most {filled.peak_bytes / 1e6:,.0f} MB")
            reopenings = []
            for _ in range(kills):
                reopenings.append(_reopen(stage))
                fill_store(stage, 0, min(keys, _WRITES_BETWEEN), value_bytes)
            shown = ", ".join(f"{each.opened_s:.2f} ({each.back_s:.1f})" for each in reopenings)
            check_count(stage, keys)
            say(f"  seconds to reopen after kill -9 (until it answered): {shown}")
            found.append(LargeBucket(keys, value_bytes, writes_per_s, filled, reopenings))
    return found


def _load(stage: Stage, workload: wrk.Workload, keys: int, value_bytes: int, seconds: int) -> None:
    load = wrk.Load(workload, _CONNECTIONS, keys, value_bytes)
    wrk.run(stage.target(STORE), load, seconds=seconds, seed=1, folder=stage.folder)


def _reopen(stage: Stage) -> Reopening:
    opened_before = len(_opened_events(stage.store.log))
    killed = psutil.Process(stage.store.bucket_pid(0))
    started_s = time.monotonic()
    killed.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        killed.wait(_BACK_TIMEOUT_S)  # from here on no answer can be an old one
    _wait_answer(stage, started_s + _BACK_TIMEOUT_S)
    back_s = time.monotonic() - started_s
    while len(events := _opened_events(stage.store.log)) <= opened_before:
        if time.monotonic() > started_s + _BACK_TIMEOUT_S:
            raise BenchmarkFailed("the bucket came back but did not log 'bucket opened'")
        time.sleep(0.1)
    return Reopening(float(events[-1]["seconds"]), back_s)


def _wait_answer(stage: Stage, deadline_s: float) -> None:
    with stage.store.client() as client:
        while time.monotonic() < deadline_s:
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"/get/{key_name(0)}").status_code == 200:
                    return
            time.sleep(0.01)
    raise BenchmarkFailed(f"the bucket was not back within {_BACK_TIMEOUT_S:.0f} s of kill -9")


def _opened_events(log: str) -> list[dict[str, Any]]:
    return [event for event in _events(log) if event.get("event") == "bucket opened"]


def _events(log: str) -> Iterator[dict[str, Any]]:
    """The store's own events in Serve's log: the JSON at the end of a line."""
    for line in log.splitlines():
        start = line.find('{"time":')
        if start >= 0:
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(line[start:])
