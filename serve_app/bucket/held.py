"""Operations on keys that are just being moved: held until the window has moved, then judged again.

Bounded in number and bytes, also for each connection: the calls that a directory has for a bucket are bounded, and those
that wait must leave most of them to keys that don't. A window that can't be moved, since its new bucket is away or full, may
keep a few waiting only. They keep their deadlines: one that could not be answered in time is refused a moment before, so that
its client learns that nothing was changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from serve_app.settings import Limits

MAX_HELD = 4096
MAX_HELD_BYTES = 64 * 1024 * 1024
#: Of what one directory may have under way at a bucket, one part in this many may be held.
_SHARE = 4
#: A window that takes longer than this is stuck.
STUCK_S = 0.5
_SWEEP_S = 0.05
#: An operation is refused this many seconds before its deadline: the answer has to reach the directory.
_ANSWER_S = 0.25
_BUSY = "busy"
_TOO_MANY = "the key is just being moved, and many operations wait for that already"
_STUCK = "the key is just being moved, and its new bucket does not take it"


class Held(NamedTuple):
    """owner: the connection it came by. again: judge it anew, on the loop. refuse: answer that nothing was changed, with a
    reason and a sentence."""

    owner: Hashable
    deadline_s: float
    size_bytes: int
    again: Callable[[], Any]
    refuse: Callable[[str, str], None]


class HeldOperations:
    """Everything that waits for a window. Used on the bucket's loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], limits: Limits) -> None:
        self._loop = loop
        self._clock = clock
        self._max_each = max(1, limits.max_calls_per_bucket // _SHARE)
        self._max_each_bytes = limits.max_call_bytes_per_bucket // _SHARE
        # As many as wait in a directory for a bucket that is away: to its clients it is the same.
        self._max_each_stuck = min(self._max_each, limits.max_waiting_per_bucket)
        self._held: list[Held] = []
        self._bytes = 0
        #: By owner: number and bytes.
        self._each: dict[Hashable, tuple[int, int]] = {}
        self._since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._held)

    def add(self, operation: Held) -> None:
        """Hold an operation, or refuse it where too many are held."""
        if not self._held:
            self._since_s = self._clock()
        count, size = self._each.get(operation.owner, (0, 0))
        if count >= (self._max_each_stuck if self._stuck else self._max_each):
            operation.refuse(_BUSY, _STUCK if self._stuck else _TOO_MANY)
            return
        too_large = count and size + operation.size_bytes > self._max_each_bytes
        full = len(self._held) >= MAX_HELD or (self._held and self._bytes + operation.size_bytes > MAX_HELD_BYTES)
        if too_large or full:
            operation.refuse(_BUSY, _TOO_MANY)
            return
        self._keep(operation)
        if self._timer is None:
            self._timer = self._loop.call_later(_SWEEP_S, self._sweep)

    def release(self) -> None:
        """Judge all of them anew."""
        for operation in self._remove_all():
            operation.again()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _stuck(self) -> bool:
        return bool(self._held) and self._clock() - self._since_s > STUCK_S

    def _keep(self, operation: Held) -> None:
        self._held.append(operation)
        self._bytes += operation.size_bytes
        count, size = self._each.get(operation.owner, (0, 0))
        self._each[operation.owner] = (count + 1, size + operation.size_bytes)

    def _remove_all(self) -> list[Held]:
        held, self._held, self._bytes, self._each = self._held, [], 0, {}
        return held

    def _sweep(self) -> None:
        self._timer = None
        latest_s = self._clock() + _ANSWER_S
        at_most = self._max_each_stuck if self._stuck else self._max_each
        given_up: list[Held] = []
        for operation in self._remove_all():
            if operation.deadline_s <= latest_s or self._each.get(operation.owner, (0, 0))[0] >= at_most:
                given_up.append(operation)
            else:
                self._keep(operation)
        for operation in given_up:
            operation.refuse(_BUSY, _STUCK)
        if self._held and self._timer is None:
            self._timer = self._loop.call_later(_SWEEP_S, self._sweep)
