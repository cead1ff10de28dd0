"""How far something is, how fast it goes, and when it will be there."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

#: The rate is that of the last while: a rate limit, a bucket that is away or other work changes it.
_WINDOW_S = 30.0


@dataclass(frozen=True)
class Share:
    """`done` of `total`. per_s and end are None while they are not known."""

    done: int
    total: int
    per_s: float | None = None
    end: datetime | None = None

    @property
    def tenths(self) -> int:
        return 10 * self.done // self.total if self.total else 0

    def __str__(self) -> str:
        text = f"{self.done:,} of {self.total:,} keys"
        if self.per_s is not None:
            text += f", {self.per_s:,.0f}/s"
        if self.end is not None:
            text += f", until about {self.end.astimezone():%H:%M:%S}"
        return text


class Pace:
    """Remembers when how much was done."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def share(self, done: int, total: int, now_s: float, now: datetime) -> Share:
        """How it stands now. now_s: seconds on a clock that only goes forward; now: the time of day."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # it has begun anew
        self._seen.append((now_s, done))
        while self._seen[0][0] < now_s - _WINDOW_S:
            self._seen.popleft()
        before_s, before = self._seen[0]
        if done == before or now_s == before_s:
            return Share(done, total)
        per_s = (done - before) / (now_s - before_s)
        return Share(done, total, per_s, now + timedelta(seconds=(total - done) / per_s))
