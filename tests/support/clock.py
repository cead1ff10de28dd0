"""The time of day that a test sets: for `Platform.now_ms`."""

from __future__ import annotations

from serve_app.bucket.platform import Platform

SECOND_MS, HOUR_MS = 1000, 3_600_000


class Clock:
    """Stands still until it is set."""

    def __init__(self, now_ms: int = 1_750_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, by_ms: int) -> None:
        """Go on, or back."""
        self.now_ms += by_ms

    def platform(self) -> Platform:
        """The real machine but for this."""
        return Platform(now_ms=self)
