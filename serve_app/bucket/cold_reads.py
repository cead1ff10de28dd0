"""Reads that have to wait for the disk: those of one connection, in batches that hold up neither the loop nor others.

Bounded: a fixed number of batches is under way, each with few reads, and one stops early when its values grow large.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from serve_app.bucket.judgement import Hold
from serve_app.bucket.reader import Expired, Reader
from serve_app.operations.body import Answer
from serve_app.wire.messages import Envelope

#: Batches under way for one connection, and reads in each.
_BATCHES = 4
_READS_PER_BATCH = 16
_BATCH_BYTES = 1024 * 1024


class ColdRead(NamedTuple):
    """A read, and when it arrived (seconds on the bucket's clock)."""

    envelope: Envelope
    arrived_s: float


#: What came of it: an answer, or that it has to wait.
Outcome = tuple[ColdRead, Answer | Hold | Expired]


class Client(Protocol):
    """Whose reads these are. On the loop."""

    @property
    def paused(self) -> bool:
        """Whether it takes no answers now, so that none should be made."""

    def reads_done(self, outcomes: list[Outcome]) -> None:
        """A batch has been read."""

    def in_thread(self, work: Callable[[], list[Outcome]], done: Callable[[list[Outcome]], None]) -> None:
        """Have `work` done in a reading thread; `done` gets what it returns, on the loop."""


class ColdReads:
    """See the module."""

    def __init__(self, reader: Reader, client: Client, max_queued: int) -> None:
        self._reader = reader
        self._client = client
        self._max_queued = max_queued
        self._queue: deque[ColdRead] = deque()
        self._batches = 0
        self._stopped = False

    def add(self, envelope: Envelope, arrived_s: float) -> bool:
        """Queue a read, to be begun by `start`; whether there is room."""
        if len(self._queue) >= self._max_queued:
            return False
        self._queue.append(ColdRead(envelope, arrived_s))
        return True

    def start(self) -> None:
        """Begin what may be under way at once."""
        while self._queue and self._batches < _BATCHES and not self._client.paused:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), _READS_PER_BATCH))]
            self._batches += 1
            self._begin(batch)

    def stop(self) -> None:
        """Begin nothing more: there is nobody to answer."""
        self._stopped = True
        self._queue.clear()

    def _begin(self, batch: list[ColdRead]) -> None:
        def done(outcomes: list[Outcome]) -> None:
            self._batches -= 1
            if not self._stopped:
                self._queue.extendleft(reversed(batch[len(outcomes) :]))
            try:
                self._client.reads_done(outcomes)
            finally:
                self.start()

        self._client.in_thread(lambda: self._read(batch), done)

    def _read(self, batch: list[ColdRead]) -> list[Outcome]:
        """The outcomes of the first ones, in order. In a reading thread."""
        outcomes: list[Outcome] = []
        size = 0
        for read in batch:
            outcome = self._reader.on_disk(*read)
            outcomes.append((read, outcome))
            size += outcome.payload_bytes if isinstance(outcome, Answer) else 0
            if size > _BATCH_BYTES:
                break
        return outcomes
