"""Events that strangers can cause as often as they like, logged at most once a second.

Each line costs disk: 105 s of knocking at the data plane once wrote 45 MB. The first of a burst is logged at once; of those
that follow within the interval the last is logged at its end, with their number as `count`, so none goes unmentioned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from serve_app import events

INTERVAL_S = 1.0


class _Timer(Protocol):
    def cancel(self) -> None: ...


class Seldom:
    """One stream of warnings. Everything runs on one event loop."""

    def __init__(self, call_later: Callable[[float, Callable[[], None]], _Timer], **fields: Any) -> None:
        """call_later: the loop's. fields: what every line has."""
        self._call_later = call_later
        self._fields = fields
        self._timer: _Timer | None = None
        self._count = 0
        self._latest: tuple[str, dict[str, Any]] = ("", {})

    def warning(self, event: str, **fields: Any) -> None:
        """Log it now, or count it and log the latest when the second is over."""
        if self._timer is None:
            events.warning(event, **self._fields, **fields)
            self._wait()
        else:
            self._count += 1
            self._latest = (event, fields)

    def flush(self) -> None:
        """Log at once what was only counted so far, if anything was, and wait no longer: for the end of the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._log_counted()

    def _wait(self) -> None:
        self._timer = self._call_later(INTERVAL_S, self._over)

    def _over(self) -> None:
        self._timer = None
        if self._log_counted():
            self._wait()

    def _log_counted(self) -> bool:
        count, self._count = self._count, 0
        if count:
            event, fields = self._latest
            events.warning(event, **self._fields, **fields, count=count)
        return bool(count)
