"""Time, in one place that tests can replace."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The machine's."""

    def monotonic_s(self) -> float:
        """Seconds that only ever go forward."""
        return time.monotonic()

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Do nothing for a while."""
        time.sleep(seconds)
