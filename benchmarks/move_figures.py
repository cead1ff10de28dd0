"""The figures of a move: what moving.py measures, bars.py judges and report.py shows."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import wrk


@dataclass(frozen=True)
class Alone:
    """1 → 2 buckets, nobody at work: half of `keys` moved. The growths are of resident memory, at its peak."""

    keys: int
    keys_per_s: float
    source_growth_bytes: int
    target_growth_bytes: int


@dataclass(frozen=True)
class Move:
    """alone and larger: 1 → 2 buckets, at two sizes of the store. loaded: 2 → 1 under load, and the same load before it."""

    value_bytes: int
    rate_bytes_per_s: int
    alone: Alone
    larger: Alone
    loaded_keys_per_s: float
    before: wrk.Result
    during: wrk.Result

    @property
    def p99_ratio(self) -> float:
        """p99 while keys move, against before."""
        return self.during.p99_ms / self.before.p99_ms
