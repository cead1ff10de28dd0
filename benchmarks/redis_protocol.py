"""The Redis protocol: what redis-benchmark sees of this store and of redis-server, which syncs each write too.

Beside them, in the same rounds, the first API by wrk and etcd's gateway. `python -m benchmarks.redis_protocol` measures
nothing else.
"""

from __future__ import annotations

import csv
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import alone, wrk
from benchmarks.bars import Bar
from benchmarks.failure import BenchmarkFailed
from benchmarks.filling import fill, settle
from benchmarks.stage import Stage
from benchmarks.systems import ETCD, REDIS, STORE, System, why_not

_KEYS = 20_000
_VALUE_BYTES = 100
_CLIENTS, _PIPELINES = 50, (1, 16)
#: By pipeline, how many commands a measurement takes.
_COMMANDS = {1: 40_000, 16: 160_000}
_HTTP_CONNECTIONS = 32
_TIMEOUT_S = 300.0
_TIMES = {"GET": 5.0, "SET": 4.0}
_AT_16 = {"GET": 80_000, "SET": 50_000}
_OF_REDIS = {"GET": 0.4, "SET": 0.33}


class Round(NamedTuple):
    """Commands a second. face, redis: by name and pipeline; redis is empty where there is no redis-server. first, gateway:
    of the first API and etcd's gateway, by method; the latter empty where there is no etcd."""

    face: dict[tuple[str, int], float]
    redis: dict[tuple[str, int], float]
    first: dict[str, float]
    gateway: dict[str, float]


def why_not_measured() -> str:
    """Why it can't be measured here, as a sentence; empty if it can."""
    if shutil.which("redis-benchmark") is None:
        return (
            "the Redis protocol is not measured: redis-benchmark (Debian: apt-get install redis-tools) is not installed"
        )
    return ""


def measure(folder: Path, *, rounds: int, seconds: int, say: Callable[[str], None]) -> list[Round]:
    """Run it, with a store of its own. seconds: of each load by wrk.

    Raises:
        BenchmarkFailed: something did not succeed.
    """
    found: list[Round] = []
    systems = [STORE, *(system for system in (REDIS, ETCD) if not why_not(system))]
    with Stage(folder, systems, bucket_count=2) as stage:
        fill(stage, 0, _KEYS, _VALUE_BYTES)
        for port in (stage.face_port, stage.redis_port)[: 2 if REDIS in systems else 1]:
            _commands(port, "SET", 16, _KEYS * 8)
        settle(stage)
        for number in range(rounds):

            def over_http(system: System, number: int = number) -> dict[str, float]:
                if system not in systems:
                    return {}
                rates = {}
                for method in ("GET", "PUT"):
                    asked = wrk.Load(method, _HTTP_CONNECTIONS, _KEYS, _VALUE_BYTES)
                    target = stage.target(system)
                    done = wrk.run(target, asked, seconds=seconds, seed=number, folder=stage.folder)
                    rates[method] = done.requests_per_s
                return rates

            face: dict[tuple[str, int], float] = {}
            redis: dict[tuple[str, int], float] = {}
            for pipeline in _PIPELINES:
                for name in ("GET", "SET"):
                    count = _COMMANDS[pipeline]
                    face[name, pipeline] = _commands(stage.face_port, name, pipeline, count)
                    if REDIS in systems:
                        redis[name, pipeline] = _commands(stage.redis_port, name, pipeline, count)
            found.append(Round(face, redis, over_http(STORE), over_http(ETCD)))
            say(_shown(found[-1]))
    return found


def bars(rounds: list[Round]) -> Iterator[Bar]:
    """What was promised, by medians of the rounds."""

    def middle(of: Callable[[Round], float]) -> float:
        return statistics.median(map(of, rounds))

    for name, method in (("GET", "GET"), ("SET", "PUT")):
        ratio = middle(lambda each: each.face[name, 1] / each.first[method])  # noqa: B023
        figure = f"{name} by the Redis protocol, {_CLIENTS} clients, of the first API's {method} through the ingress"
        yield Bar(figure, f"at least {_TIMES[name]:g} x", f"{ratio:.1f} x", ratio >= _TIMES[name])
        rate = middle(lambda each: each.face[name, 16])  # noqa: B023
        figure = f"{name} by the Redis protocol, {_CLIENTS} clients, pipeline 16"
        yield Bar(figure, f"at least {_AT_16[name]:,} a second", f"{rate:,.0f}", rate >= _AT_16[name])
        if rounds[0].redis:
            of_redis = middle(lambda each: each.face[name, 1] / each.redis[name, 1])  # noqa: B023
            figure = f"{name} by the Redis protocol, {_CLIENTS} clients, of redis-server's (every write synced)"
            wanted = _OF_REDIS[name]
            yield Bar(figure, f"at least {wanted:g} x", f"{of_redis:.2f} x", of_redis >= wanted)


def plain(one: Round) -> dict[str, dict[str, float]]:
    """For JSON."""
    named = {name: {f"{command} x{pipeline}": rate for (command, pipeline), rate in rates.items()}
             for name, rates in (("face", one.face), ("redis", one.redis))}  # fmt: skip
    return {**named, "first": one.first, "gateway": one.gateway}


def _commands(port: int, name: str, pipeline: int, count: int) -> float:
    """Commands a second."""
    command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-t", name.lower(), "-c", str(_CLIENTS)]
    command += ["-P", str(pipeline), "-n", str(count), "-d", str(_VALUE_BYTES), "-r", str(_KEYS), "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    rows = {row[0]: row for row in csv.reader(done.stdout.splitlines()) if row}
    if done.returncode or name not in rows or "rror" in done.stdout + done.stderr:
        raise BenchmarkFailed(f"redis-benchmark of {name} failed: {(done.stdout + done.stderr)[-2000:]}")
    return float(rows[name][1])


def _shown(one: Round) -> str:
    parts = []
    for pipeline in _PIPELINES:
        for name in ("GET", "SET"):
            beside = f", redis-server {one.redis[name, pipeline]:,.0f}" if one.redis else ""
            parts.append(f"{name} x{pipeline} {one.face[name, pipeline]:,.0f}/s{beside}")
    parts.append(f"first API {one.first['GET']:,.0f} GET, {one.first['PUT']:,.0f} PUT")
    if one.gateway:
        parts.append(f"etcd's gateway {one.gateway['GET']:,.0f} GET, {one.gateway['PUT']:,.0f} PUT")
    return "; ".join(parts)


if __name__ == "__main__":
    alone.main("redis_protocol", __doc__, measure, bars)
