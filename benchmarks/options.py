"""The command line of the benchmark."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.failure import BenchmarkFailed
from benchmarks.figures import Case
from benchmarks.systems import EMPTY, ON_REQUEST, STORE, SYSTEMS, System
from benchmarks.wrk import WORKLOADS

ROOT = Path(__file__).parent.parent
SMALL_KEYS = 1_000
LARGE_KEYS = 1_000_000
#: Fewer rounds make no figure for the documentation.
FULL_ROUNDS = 5
_FULL_SECONDS = 5
_QUICK_ROUNDS = 3
_QUICK_SECONDS = 2

_FULL_CASES = tuple(Case(workload, connections) for connections in (1, 32) for workload in WORKLOADS)
_QUICK_CASES = (Case("GET", 32), Case("PUT", 32))


@dataclass(frozen=True)
class Options:
    """What to run. large_keys is 0 where only few keys are wanted; docs is None where nothing is written there."""

    systems: tuple[System, ...]
    cases: tuple[Case, ...]
    rounds: int
    seconds: int
    large_keys: int
    data_dir: Path
    output: Path
    docs: Path | None


def parse(arguments: Sequence[str] | None = None) -> Options:
    """The options of a command line.

    Raises:
        BenchmarkFailed: --systems names one that there is not.
    """
    given = _parser().parse_args(arguments)
    systems = _systems(given.systems or ("empty,store" if given.quick else ",".join(each.name for each in SYSTEMS)))
    rounds = given.rounds or (_QUICK_ROUNDS if given.quick else FULL_ROUNDS)
    large_keys = 0 if given.quick else given.keys
    whole = rounds >= FULL_ROUNDS and large_keys >= LARGE_KEYS and len(systems) == len(SYSTEMS)
    return Options(
        systems=systems,
        cases=_QUICK_CASES if given.quick else _FULL_CASES,
        rounds=rounds,
        seconds=given.seconds or (_QUICK_SECONDS if given.quick else _FULL_SECONDS),
        large_keys=large_keys,
        data_dir=given.data_dir,
        output=given.output or ROOT / "build" / ("bench-quick.json" if given.quick else "bench.json"),
        docs=given.docs or (ROOT / "docs" / "performance.md" if whole and not given.quick else None),
    )


def _systems(names: str) -> tuple[System, ...]:
    wanted = {name.strip() for name in names.split(",")}
    there_are = (*SYSTEMS, *ON_REQUEST)
    unknown = wanted - {each.name for each in there_are}
    if unknown:
        known = ", ".join(each.name for each in there_are)
        raise BenchmarkFailed(f"--systems: there is no {', '.join(sorted(unknown))}; there are {known}")
    # The yardstick and the store are always among them: without either there is nothing to say.
    return tuple(each for each in there_are if each.name in wanted or each in (EMPTY, STORE))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the store against an empty handler and others. Takes some 20 minutes; --quick under one.",
        epilog="A run of full length writes its tables to docs/performance.md; a shorter one does where --docs says so.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="only the empty handler and the store, GET and PUT, briefly"
    )
    parser.add_argument("--rounds", type=_positive, help=f"rounds of everything (default {FULL_ROUNDS})")
    parser.add_argument("--seconds", type=_positive, help=f"seconds of each measurement (default {_FULL_SECONDS})")
    parser.add_argument(
        "--keys",
        type=_positive,
        default=LARGE_KEYS,
        metavar="N",
        help=f"the large number of keys (default {LARGE_KEYS:,})",
    )
    parser.add_argument(
        "--systems",
        metavar="A,B",
        help=f"of {', '.join(each.name for each in SYSTEMS)} (default all), {', '.join(each.name for each in ON_REQUEST)}",
    )
    parser.add_argument(
        "--data-dir", type=Path, default=ROOT / "build" / "bench-data", help="a folder on the disk to measure"
    )
    parser.add_argument("--output", type=Path, help="where the JSON goes (default build/bench.json)")
    parser.add_argument("--docs", type=Path, help="the document to write the tables to, between its markers")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if not 0 < value <= 9_000_000:
        raise argparse.ArgumentTypeError(f"{value} is not between 1 and 9,000,000")
    return value
