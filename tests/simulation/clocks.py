"""The wall clock of a bucket's machine: it is wrong, and is set back and forth while the bucket runs and while it does not.

It goes as fast as the simulation's own clock, so what it showed at any instant is known afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

_EPOCH_MS = 1_750_000_000_000


class WallClock:
    """One machine's, which outlives its processes."""

    def __init__(self, now_s: Callable[[], float], ahead_ms: int) -> None:
        """now_s: seconds, of the simulation. ahead_ms: how far ahead this one is, or behind where it is negative."""
        self._now_s = now_s
        #: From when on it has been how far ahead.
        self._ahead: list[tuple[float, int]] = [(-1.0, ahead_ms)]

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, as the bucket believes."""
        return _EPOCH_MS + int(self._now_s() * 1000) + self._ahead[-1][1]

    def step(self, by_ms: int) -> None:
        """Set it."""
        self._ahead.append((self._now_s(), self._ahead[-1][1] + by_ms))

    def lowest_since_ms(self, since_s: float) -> int:
        """The least that it has shown from then on: what had expired by that had expired all the time."""
        lowest: int | None = None
        until_s = self._now_s()
        for from_s, ahead_ms in reversed(self._ahead):
            shown_ms = _EPOCH_MS + int(max(from_s, since_s) * 1000) + ahead_ms
            if until_s >= since_s:
                lowest = shown_ms if lowest is None else min(lowest, shown_ms)
            until_s = from_s
            if from_s < since_s:
                break
        assert lowest is not None, "it has always shown something"
        return lowest
