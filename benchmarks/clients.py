"""The clients: what they add to a request, and how fast the store is inside its cluster.

Each is measured beside wrk against the same store in the same round. `python -m benchmarks.clients` measures nothing else.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import alone, wrk
from benchmarks.bars import Bar
from benchmarks.failure import BenchmarkFailed
from benchmarks.filling import fill_store, settle
from benchmarks.stage import Stage
from benchmarks.systems import STORE, V1
from harness import ray_client
from harness.running_store import ROOT

_KEYS = 1000
_VALUE_BYTES = 100
_CONNECTIONS = 32
_TIMEOUT_S = 120.0
_ADDED_MS, _SHARE = 0.1, 0.8
_INSIDE_GETS, _INSIDE_PUTS, _TIMES_GET, _TIMES_PUT, _TASK_MS = 60_000, 35_000, 8.0, 7.0, 0.12


class Round(NamedTuple):
    """wrk's figures, of `/v1` but for `first`, the first API's; then each client's, by the names of `client_load.py`."""

    wrk_one: wrk.Result
    wrk_get: wrk.Result
    first_get: wrk.Result
    first_put: wrk.Result
    clients: dict[str, dict[str, float]]


def measure(folder: Path, *, rounds: int, seconds: int, say: Callable[[str], None]) -> list[Round]:
    """Run it, with a store of its own.

    Raises:
        BenchmarkFailed: something did not succeed.
    """
    found: list[Round] = []
    with Stage(folder, [STORE, V1], bucket_count=2) as stage:
        fill_store(stage, 0, _KEYS, _VALUE_BYTES)
        settle(stage)
        address = ray_client.gcs_address(stage.store.processes())
        for number in range(rounds):

            def load(system: str, workload: wrk.Workload, connections: int, number: int = number) -> wrk.Result:
                asked = wrk.Load(workload, connections, _KEYS, _VALUE_BYTES)
                target = stage.target(V1 if system == "v1" else STORE)
                return wrk.run(target, asked, seconds=seconds, seed=number, folder=stage.folder)

            one, get = load("v1", "GET", 1), load("v1", "GET", _CONNECTIONS)
            clients = {kind: _client(kind, stage.target(V1).url, seconds) for kind in ("http_sync", "http_async")}
            first_get, first_put = load("first", "GET", _CONNECTIONS), load("first", "PUT", _CONNECTIONS)
            clients |= {kind: _client(kind, address, seconds) for kind in ("inside", "task", "inside_many")}
            clients["http_many"] = _client("http_many", stage.target(V1).url, seconds)
            found.append(Round(one, get, first_get, first_put, clients))
            say(_shown(found[-1]))
    return found


def bars(rounds: list[Round]) -> Iterator[Bar]:
    """What was promised, by medians of the rounds."""

    def middle(of: Callable[[Round], float]) -> float:
        return statistics.median(map(of, rounds))

    added = middle(lambda each: each.clients["http_sync"]["p50_ms"] - each.wrk_one.p50_ms)
    yield Bar(
        "GET by the sync client, one connection, above what wrk sees",
        f"at most {_ADDED_MS:g} ms",
        f"{added:+.3f} ms",
        added <= _ADDED_MS,
    )
    # With a core of its own it sends as many as its CPU time allows.
    share = middle(lambda each: 1e6 / each.clients["http_async"]["get_cpu_us"] / each.wrk_get.requests_per_s)
    cpu_us = middle(lambda each: each.clients["http_async"]["get_cpu_us"])
    yield Bar(
        f"GETs by the async client, {_CONNECTIONS} at once, of wrk's throughput, by CPU time ({cpu_us:.0f} µs for each)",
        f"at least {_SHARE:g} x",
        f"{share:.2f} x",
        share >= _SHARE,
    )
    for name, wanted, times, first in (
        ("get", _INSIDE_GETS, _TIMES_GET, "first_get"),
        ("put", _INSIDE_PUTS, _TIMES_PUT, "first_put"),
    ):
        what = "gets" if name == "get" else "synced puts"
        rate = middle(lambda each, name=name: each.clients["inside"][f"{name}_per_s"])  # type: ignore[misc]
        yield Bar(
            f"{what} inside the cluster, 64 under way", f"at least {wanted:,} a second", f"{rate:,.0f}", rate >= wanted
        )
        ratio = middle(
            lambda each, name=name, first=first: (  # type: ignore[misc]
                each.clients["inside"][f"{name}_per_s"] / getattr(each, first).requests_per_s
            )
        )
        figure = f"{what} inside the cluster, of the first API's through the ingress"
        yield Bar(figure, f"at least {times:g} x", f"{ratio:.1f} x", ratio >= times)
    in_task = middle(lambda each: each.clients["task"]["p50_ms"])
    yield Bar("a get by the sync store in a task", f"at most {_TASK_MS:g} ms", f"{in_task:.3f} ms", in_task <= _TASK_MS)


def _client(kind: str, where: str, seconds: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.apps.client_load", kind, where, str(_KEYS), str(seconds)],
        env=ray_client.environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        raise BenchmarkFailed(f"the client {kind} failed: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _shown(one: Round) -> str:
    of = one.clients
    sync, at_once, many, inside = of["http_sync"], of["http_async"], of["http_many"], of["inside"]
    return "; ".join(
        [
            f"a GET {one.wrk_one.p50_ms:.3f} ms by wrk, {sync['p50_ms']:.3f} by Store ({sync['cpu_us']:.0f} µs CPU)",
            f"{_CONNECTIONS} at once {one.wrk_get.requests_per_s:,.0f}/s by wrk, {at_once['get_per_s']:,.0f} by AsyncStore "
            f"({at_once['get_cpu_us']:.0f} µs CPU), PUT {at_once['put_per_s']:,.0f} ({at_once['put_cpu_us']:.0f} µs)",
            f"many: {many['puts_per_s']:,.0f} puts, {many['gets_per_s']:,.0f} gets",
            f"first API {one.first_get.requests_per_s:,.0f} GET, {one.first_put.requests_per_s:,.0f} PUT",
            f"inside {inside['get_per_s']:,.0f} GET ({inside['get_cpu_us']:.0f} µs), {inside['put_per_s']:,.0f} PUT "
            f"({inside['put_cpu_us']:.0f} µs), one {inside['one_get_us']:.0f} µs",
            f"in a task {of['task']['p50_ms'] * 1e3:.0f} µs",
            f"many: {of['inside_many']['puts_per_s']:,.0f} puts, {of['inside_many']['gets_per_s']:,.0f} gets",
        ]
    )


if __name__ == "__main__":
    alone.main("clients", __doc__, measure, bars)
