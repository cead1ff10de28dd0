"""The rounds: every case with every system in turn, then all over again.

A machine's speed drifts over minutes (neighbours, clocks, temperature). Systems measured seconds apart share that drift, so
their ratio in one round is worth more than either figure. Every other round runs the systems backwards, so that none
always comes after the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import wrk
from benchmarks.figures import Case, Sample, Samples
from benchmarks.stage import Stage
from benchmarks.systems import EMPTY, System

VALUE_BYTES = 100
_WARM_UP_S = 1
_WARM_UP_CONNECTIONS = 32
# A store of many keys is read for longer: until nearly every block that its cache has room for is in there.
_WARM_UP_KEYS_PER_S = 40_000


def run_rounds(
    stage: Stage,
    systems: Sequence[System],
    cases: Sequence[Case],
    samples: Samples,
    *,
    keys: int,
    rounds: int,
    seconds: int,
    say: Callable[[str], None],
) -> None:
    """Measure, adding to the samples.

    Raises:
        BenchmarkFailed: a request did not succeed.
    """
    for system in systems:
        _warm_up(stage, system, cases, keys)
    for number in range(1, rounds + 1):
        order = list(systems) if number % 2 else list(reversed(systems))
        for index, case in enumerate(cases):
            load = wrk.Load(case.workload, case.connections, keys, VALUE_BYTES)
            seed = 1000 * number + index
            found = {
                system: wrk.run(stage.target(system), load, seconds=seconds, seed=seed, folder=stage.folder)
                for system in order
            }
            samples.all += [Sample(keys, number, case, system.name, result) for system, result in found.items()]
            yardstick = found[EMPTY].requests_per_s
            shown = "  ".join(
                f"{system.name} {found[system].requests_per_s:,.0f}/s ({found[system].requests_per_s / yardstick:.2f})"
                for system in systems
            )
            say(f"round {number}/{rounds}  {case.workload:3} {case.connections:2} conn  {shown}")


def reading_s(keys: int) -> int:
    """How long to read at random, with many connections, until a cache holds what it will hold."""
    return _WARM_UP_S + keys // _WARM_UP_KEYS_PER_S


def _warm_up(stage: Stage, system: System, cases: Sequence[Case], keys: int) -> None:
    """Let connections be opened, code paths be compiled and caches be filled before anything counts."""
    for workload in sorted({case.workload for case in cases}, reverse=True):
        seconds = reading_s(keys) if workload == "GET" and system.keyed else _WARM_UP_S
        load = wrk.Load(workload, _WARM_UP_CONNECTIONS, keys, VALUE_BYTES)
        wrk.run(stage.target(system), load, seconds=seconds, seed=keys, folder=stage.folder)
