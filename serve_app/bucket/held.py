"""Operations on keys that are just being moved: held until the window has moved, then judged again.

Bounded in number and bytes. They keep their deadlines: one that could not be answered in time is refused a moment before, so
that its client learns that nothing was changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_HELD = 4096
MAX_HELD_BYTES = 64 * 1024 * 1024
_SWEEP_S = 0.05
#: So much before its deadline an operation is refused: the answer has to reach the directory.
_ANSWER_S = 0.25


class Held(NamedTuple):
    """again: judge it anew, on the loop. refuse: answer that nothing was changed, with a reason and a sentence."""

    deadline_s: float
    size_bytes: int
    again: Callable[[], Any]
    refuse: Callable[[str, str], None]


class HeldOperations:
    """Everything that waits for a window. Used on the bucket's loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._held: list[Held] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._held)

    def add(self, operation: Held) -> None:
        """Hold an operation, or refuse it where too many are held."""
        if len(self._held) >= MAX_HELD or (self._held and self._bytes + operation.size_bytes > MAX_HELD_BYTES):
            operation.refuse("busy", "the key is just being moved, and many operations wait for that already")
            return
        self._held.append(operation)
        self._bytes += operation.size_bytes
        if self._timer is None:
            self._timer = self._loop.call_later(_SWEEP_S, self._sweep)

    def release(self) -> None:
        """Judge all of them anew."""
        held, self._held, self._bytes = self._held, [], 0
        for operation in held:
            operation.again()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        latest_s = self._clock() + _ANSWER_S
        late = [operation for operation in self._held if operation.deadline_s <= latest_s]
        if late:
            self._held = [operation for operation in self._held if operation.deadline_s > latest_s]
            self._bytes = sum(operation.size_bytes for operation in self._held)
        for operation in late:
            operation.refuse("busy", "the key is just being moved, and its new bucket does not take it")
        if self._held:
            self._timer = self._loop.call_later(_SWEEP_S, self._sweep)
