"""How far a bucket's part of a move is, and how fast it goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from serve_app.cursor import Cursor, expected_to_move
from serve_app.topology import Topology

#: The rate is that of the last while: a rate limit, a bucket that is away or clients at work change it.
_WHILE_S = 10.0
_APART_S = 0.25


class Sample(NamedTuple):
    """How many keys and bytes had left at a time (seconds on the bucket's clock)."""

    at_s: float
    keys: int
    bytes: int


class Pace:
    """Remembers when how much had left, for a while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: deque[Sample] = deque()

    def note(self, cursor: Cursor) -> None:
        """Called with each step of the cursor; one that falls behind the last is of another move."""
        now = Sample(self._clock(), cursor.moved_keys, cursor.moved_bytes)
        if self._seen and (now.keys < self._seen[-1].keys or not now.keys):
            self._seen.clear()
        if len(self._seen) > 1 and now.at_s - self._seen[-2].at_s < _APART_S:
            self._seen.pop()
        self._seen.append(now)
        self._forget(now.at_s)

    def rates(self) -> tuple[float, float]:
        """Keys and bytes a second."""
        now_s = self._clock()
        self._forget(now_s)
        if not self._seen or now_s <= self._seen[0].at_s:
            return 0.0, 0.0
        first, last = self._seen[0], self._seen[-1]
        took_s = now_s - first.at_s
        return (last.keys - first.keys) / took_s, (last.bytes - first.bytes) / took_s

    def _forget(self, now_s: float) -> None:
        """Keep one from before the last while, to count from."""
        while len(self._seen) > 1 and self._seen[1].at_s < now_s - _WHILE_S:
            self._seen.popleft()


class Progress(NamedTuple):
    """Of the move under way, in the order of `messages.Status`' last fields."""

    done: bool
    moved_keys: int
    moved_bytes: int
    remaining_keys: int
    waiting_for: str
    remaining_bytes: int = 0
    keys_per_s: float = 0.0
    bytes_per_s: float = 0.0


def progress(bucket_id: int, topology: Topology | None, cursor: Cursor | None, pace: Pace, waits_for: str) -> Progress:
    """What remains is what the hash lets expect of what the bucket began with; nothing, once it is done."""
    if topology is None or cursor is None or not topology.moving:
        return Progress(True, 0, 0, 0, waits_for)
    if cursor.done:
        return Progress(True, cursor.moved_keys, cursor.moved_bytes, 0, waits_for)
    keys = expected_to_move(topology, bucket_id, cursor.keys_at_start)
    size = expected_to_move(topology, bucket_id, cursor.bytes_at_start)
    remaining_keys, remaining_bytes = max(0, keys - cursor.moved_keys), max(0, size - cursor.moved_bytes)
    return Progress(
        False, cursor.moved_keys, cursor.moved_bytes, remaining_keys, waits_for, remaining_bytes, *pace.rates()
    )
