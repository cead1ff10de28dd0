"""What was measured, and what is said about it: medians, spreads, and ratios within a round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.systems import EMPTY, System, SystemName
from benchmarks.wrk import Result, Workload


class Case(NamedTuple):
    """What all systems are measured with in turn."""

    workload: Workload
    connections: int


@dataclass(frozen=True)
class Sample:
    """One run of wrk against one system. `keys` is how many each system held."""

    keys: int
    round_number: int
    case: Case
    system: SystemName
    result: Result


class Spread(NamedTuple):
    """The middle of several rounds, and how far apart they were."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread | None:
    """None where there are none."""
    found = list(values)
    return Spread(statistics.median(found), min(found), max(found)) if found else None


class Samples:
    """All samples of a run, to be asked for."""

    def __init__(self) -> None:
        self.all: list[Sample] = []

    def of(self, keys: int, case: Case, system: System, field: Callable[[Result], float]) -> Spread | None:
        """A field of the results, over the rounds."""
        return spread(field(result) for result in self._by_round(keys, case, system).values())

    def ratio(self, keys: int, case: Case, system: System, over: System = EMPTY) -> Spread | None:
        """Requests per second as a multiple of another system's in the same round."""
        mine, theirs = self._by_round(keys, case, system), self._by_round(keys, case, over)
        return spread(
            mine[number].requests_per_s / theirs[number].requests_per_s for number in mine if number in theirs
        )

    def added_p50_ms(self, keys: int, case: Case, system: System, to: System = EMPTY) -> Spread | None:
        """How much longer the median request takes than the other system's in the same round."""
        mine, theirs = self._by_round(keys, case, system), self._by_round(keys, case, to)
        return spread(mine[number].p50_ms - theirs[number].p50_ms for number in mine if number in theirs)

    def _by_round(self, keys: int, case: Case, system: System) -> dict[int, Result]:
        return {
            sample.round_number: sample.result
            for sample in self.all
            if (sample.keys, sample.case, sample.system) == (keys, case, system.name)
        }
