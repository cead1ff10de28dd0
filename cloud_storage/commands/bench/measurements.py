"""How long operations took and what came of them, and the lines in which YCSB tells that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

#: As YCSB writes them.
PERCENTILES = {"50th": 50.0, "95th": 95.0, "99th": 99.0, "99.9": 99.9}
#: Digits of a latency that are kept: memory does not grow with the number of operations.
_DIGITS = 3


class Latencies:
    """In microseconds. Those above a thousand are kept with three digits, so a percentile is right to half a percent."""

    def __init__(self) -> None:
        self.count = self.total = self.greatest = 0
        self.least: int | None = None
        self._counts: Counter[int] = Counter()

    def add(self, latency_us: int) -> None:
        self.count += 1
        self.total += latency_us
        self.greatest = max(self.greatest, latency_us)
        self.least = latency_us if self.least is None else min(self.least, latency_us)
        self._counts[round(latency_us, min(0, _DIGITS - len(str(latency_us))))] += 1

    def percentile(self, percent: float) -> int:
        """The latency that so many did not exceed; 0 where there were none."""
        wanted, seen = percent / 100 * self.count, 0
        for latency_us in sorted(self._counts):
            seen += self._counts[latency_us]
            if seen >= wanted:
                return latency_us
        return 0

    @property
    def average(self) -> float:
        return self.total / self.count if self.count else 0.0


class Measurements:
    """Of a run, by the names of operations. problems: what went wrong, in words, and how often."""

    def __init__(self) -> None:
        self.latencies: dict[str, Latencies] = {}
        self.returns: dict[str, Counter[str]] = {}
        self.problems: Counter[str] = Counter()
        self.seconds = 0.0

    def add(self, name: str, seconds: float, returned: str) -> None:
        """An operation has ended. What failed counts, and its latency too: it was waited for."""
        self.latencies.setdefault(name, Latencies()).add(round(seconds * 1e6))
        self.returns.setdefault(name, Counter())[returned] += 1

    @property
    def operations(self) -> int:
        return sum(latencies.count for latencies in self.latencies.values())

    @property
    def failed(self) -> int:
        return sum(times for counts in self.returns.values() for what, times in counts.items() if what != "OK")

    def as_dict(self) -> dict[str, Any]:
        """For programs; the names are those of YCSB's lines."""
        told: dict[str, Any] = {
            "OVERALL": {
                "RunTime(ms)": round(self.seconds * 1000),
                "Throughput(ops/sec)": self.operations / self.seconds if self.seconds else 0.0,
            }
        }
        for name, latencies in sorted(self.latencies.items()):
            told[name] = {
                "Operations": latencies.count,
                "AverageLatency(us)": latencies.average,
                "MinLatency(us)": latencies.least or 0,
                "MaxLatency(us)": latencies.greatest,
                **{f"{shown}PercentileLatency(us)": latencies.percentile(at) for shown, at in PERCENTILES.items()},
                **{f"Return={what}": times for what, times in sorted(self.returns[name].items())},
            }
        return told

    def lines(self) -> Iterator[str]:
        """As YCSB prints them."""
        for name, figures in self.as_dict().items():
            for what, figure in figures.items():
                yield f"[{name}], {what}, {figure:.3f}" if isinstance(figure, float) else f"[{name}], {what}, {figure}"
