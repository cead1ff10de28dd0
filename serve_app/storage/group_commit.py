"""Group commit: one writer, one sync for all that queued up while the last sync ran.

`Committer` is the logic and has no thread: it takes a group, decides each operation in order against the state that the
earlier ones leave, and writes one synced batch. `Writer` keeps the queue that feeds it, and has no thread either:
`WriterThread` drives it, and in the simulation a simulated disk does.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from serve_app import events
from serve_app.errors import DiskFull, StorageFault, StoreError, Unavailable
from serve_app.latency import BOUNDS_COUNT, Histogram
from serve_app.storage.engine import Engine, EngineFailed
from serve_app.storage.facts import Totals, totals_fact

_UNKNOWN = object()
# A group's reading ahead is bounded: so many records at a time, and large ones are read again when their turn comes.
_READ_AHEAD_KEYS = 64
_READ_AHEAD_BYTES = 8 * 1024 * 1024
_KEPT_RECORD_BYTES = 64 * 1024


class Operation(Protocol):
    """Something that may change the bucket. It is decided by the writer and answered after the group's sync."""

    #: The record it will look at, so that a group's records are read in one go; None if none.
    key: bytes | None
    #: What it adds to the queue and to a group.
    size_bytes: int
    #: When its client stops waiting, on the clock given to the writer (seconds).
    deadline_s: float
    #: Whether it needs new space (a put does, a delete does not).
    needs_space: bool

    def decide(self, group: Group) -> None:
        """Read and change the group's state and remember the answer. Errors raised here refuse this operation alone."""

    def refuse(self, error: StoreError) -> None:
        """It changed nothing, for this reason."""

    def leave_unknown(self, error: StorageFault) -> None:
        """Its group met damage while it was written: it may or may not have happened."""

    def expire(self) -> None:
        """Its deadline passed before it was decided: it changed nothing, and nobody waits for the answer."""


class WriterStats:
    """Group sizes (operations) and the seconds that each write and sync took."""

    def __init__(self) -> None:
        self.group_size = Histogram(BOUNDS_COUNT)
        self.sync_s = Histogram()


class Group:
    """The state as one group sees it: the engine's, with the group's own changes on top."""

    def __init__(self, engine: Engine, totals: Totals) -> None:
        self._engine = engine
        #: The operations that were taken and decided.
        self.operations: list[Operation] = []
        self._records: dict[bytes, bytes | None] = {}
        self._changed: dict[bytes, bytes | None] = {}
        self._facts: dict[bytes, bytes | None] = {}
        self.keys, self.bytes, self.revision = totals
        #: Bytes held by the answers so far: a delete answers with what it deleted.
        self.answer_bytes = 0

    def read_ahead(self, keys: Sequence[bytes]) -> None:
        """Load what the operations will look at with one call to the engine."""
        average = self.bytes // self.keys if self.keys else 0
        at_once = max(1, min(_READ_AHEAD_KEYS, _READ_AHEAD_BYTES // (average + 1)))
        for start in range(0, len(keys), at_once):
            some = keys[start : start + at_once]
            for key, raw in zip(some, self._engine.get_many(some), strict=True):
                if raw is None or len(raw) <= _KEPT_RECORD_BYTES:
                    self._records[key] = raw

    def get(self, key: bytes) -> bytes | None:
        """A stored record's bytes with the group's changes, or None."""
        raw = self._records.get(key, _UNKNOWN)
        if raw is _UNKNOWN:
            return self._engine.get(key)
        return raw  # type: ignore[return-value]

    def put(self, key: bytes, raw: bytes) -> None:
        """Store a record."""
        old = self.get(key)
        if old is None:
            self.keys += 1
            self.bytes += len(key) + len(raw)
        else:
            self.bytes += len(raw) - len(old)
        self._records[key] = self._changed[key] = raw

    def delete(self, key: bytes) -> None:
        """Remove a record that `get` found."""
        old = self.get(key)
        assert old is not None, "only a record that is there is deleted"
        self.keys -= 1
        self.bytes -= len(key) + len(old)
        self._records[key] = self._changed[key] = None

    def drop(self, key: bytes, size_bytes: int) -> None:
        """Remove a record that is known to be there, of which the size too is known: nothing is read, so nothing fails."""
        assert key not in self._changed, "nobody else changes it in this group"
        self.keys -= 1
        self.bytes -= len(key) + size_bytes
        self._records[key] = self._changed[key] = None

    def next_revision(self) -> int:
        """A revision that this bucket has never given before."""
        self.revision += 1
        return self.revision

    def set_fact(self, name: bytes, value: bytes) -> None:
        """Change one of the bucket's facts in the same batch."""
        self._facts[name] = value

    @property
    def totals(self) -> Totals:
        return Totals(self.keys, self.bytes, self.revision)

    def write(self, before: Totals) -> bool:
        """Make the group's changes durable. False where nothing changed, so that nothing was written."""
        if self.totals != before:
            self.set_fact(*totals_fact(self.totals))
        if not self._changed and not self._facts:
            return False
        self._engine.write(list(self._changed.items()), list(self._facts.items()))
        return True


class Committer:
    """Decides and writes one group after the other. `totals` is exact after every group."""

    def __init__(
        self,
        engine: Engine,
        totals: Totals,
        *,
        reserve_bytes: int,
        max_answer_bytes: int,
        clock: Callable[[], float],
        stats: WriterStats,
    ) -> None:
        self._stats = stats
        self._engine = engine
        self._reserve_bytes = reserve_bytes
        self._max_answer_bytes = max_answer_bytes
        self._clock = clock
        self.totals = totals
        #: What the last group found; `lacks_space` looks again.
        self.disk_full = False
        self._stopped_by: StorageFault | None = None

    def lacks_space(self) -> bool:
        """Whether the disk has less than its reserve left."""
        return self._engine.free_bytes() < self._reserve_bytes

    def commit(self, operations: Sequence[Operation]) -> int:
        """`decide` and `write`; how many operations were taken. When it returns, what those answer is durable.

        Raises:
            EngineFailed: the write failed; what happened to the group is unknown and the process must end.
        """
        group = self.decide(operations)
        self.write(group)
        return len(group.operations)

    def decide(self, operations: Sequence[Operation]) -> Group:
        """Decide the operations from the first on (at least one), until their answers together grow too large."""
        group = Group(self._engine, self.totals)
        if self._stopped_by is not None:
            for operation in operations:
                operation.refuse(self._stopped_by)
            group.operations.extend(operations)
            return group
        now_s = self._clock()
        try:
            group.read_ahead([operation.key for operation in operations if operation.key is not None])
        except StorageFault:
            pass  # the operation that hits the damage meets it again alone, and only it is refused
        self.disk_full = self.lacks_space()
        for operation in operations:
            self._decide(operation, group, now_s)
            group.operations.append(operation)
            if group.answer_bytes > self._max_answer_bytes:
                break
        return group

    def write(self, group: Group) -> None:
        """Make a decided group durable. The next one may be decided only after this.

        Raises:
            EngineFailed: the write failed; what happened to the group is unknown and the process must end.
        """
        started_s = self._clock()
        try:
            wrote = group.write(self.totals)
        except StorageFault as fault:
            # RocksDB has met damage and takes no more writes. Starting again would meet it again: reads go on instead.
            self._stopped_by = fault
            for operation in group.operations:
                operation.leave_unknown(fault)
            return
        if wrote:
            self._stats.sync_s.observe(self._clock() - started_s)
            self._stats.group_size.observe(len(group.operations))
        self.totals = group.totals

    def _decide(self, operation: Operation, group: Group, now_s: float) -> None:
        if operation.deadline_s <= now_s:
            operation.expire()
        elif self.disk_full and operation.needs_space:
            operation.refuse(DiskFull(f"the disk has less than its reserve of {self._reserve_bytes:,} bytes left"))
        else:
            try:
                operation.decide(group)
            except StoreError as error:
                operation.refuse(error)


class Writer:
    """The bucket's only writer: takes all that queued up, bounded, and commits it as one group. A subclass drives it."""

    def __init__(
        self,
        committer: Committer,
        *,
        max_queued: int,
        max_queued_bytes: int,
        max_group: int,
        max_group_bytes: int,
        done: Callable[[list[Operation]], None],
        failed: Callable[[EngineFailed], None],
    ) -> None:
        """`done` gets each group after its sync, `failed` the error that ends the bucket; both from whatever drives it."""
        self._committer = committer
        self._max_queued, self._max_queued_bytes = max_queued, max_queued_bytes
        self._max_group, self._max_group_bytes = max_group, max_group_bytes
        self._done, self._failed = done, failed
        self._backlog: list[Operation] = []
        self.queued = 0
        self.queued_bytes = 0

    def start(self) -> None:
        """Begin to write."""
        raise NotImplementedError

    def check_room(self, operation: Operation) -> None:
        """Count an operation in, to be handed over with `submit`.

        Raises:
            Unavailable: the queue is full, in number or in bytes.
        """
        if self.queued >= self._max_queued or (
            self.queued and self.queued_bytes + operation.size_bytes > self._max_queued_bytes
        ):
            raise Unavailable("the bucket's queue of writes is full")
        self.take_in(operation)

    def take_in(self, operation: Operation) -> None:
        """Count in an operation of the bucket's own, which no bound keeps out."""
        self.queued += 1
        self.queued_bytes += operation.size_bytes

    def submit(self, operations: list[Operation]) -> None:
        """Queue operations that `check_room` took. Both are called by one thread only, the bucket's event loop."""
        raise NotImplementedError

    def release(self, operations: list[Operation]) -> None:
        """Count a finished group out, on the same thread as `submit`."""
        self.queued -= len(operations)
        self.queued_bytes -= sum(operation.size_bytes for operation in operations)

    def stop(self) -> None:
        """Commit what is queued and end. Blocks until then."""
        raise NotImplementedError

    # -- for the subclass --------------------------------------------------------------------------------------------

    def _decide_next(self) -> Group:
        """Take and decide the next group of the backlog; `self._committer.write` is what it needs then."""
        group = self._committer.decide(self._first_of_backlog())
        del self._backlog[: len(group.operations)]
        return group

    def _fail(self, error: BaseException) -> None:
        """End the bucket: without its writer it would look alive and answer no write."""
        if not isinstance(error, EngineFailed):
            events.error("writer failed", exc_info=error)
            error = EngineFailed(f"the writer made a mistake: {error!r}")
        self._failed(error)

    def _first_of_backlog(self) -> list[Operation]:
        size = 0
        for count, operation in enumerate(self._backlog):
            size += operation.size_bytes
            if count and (count >= self._max_group or size > self._max_group_bytes):
                return self._backlog[:count]
        return list(self._backlog)


class WriterThread(Writer):
    """A thread of its own drives it: a sync holds up nothing else."""

    def __init__(self, committer: Committer, **options: Any) -> None:
        super().__init__(committer, **options)
        self._queue: queue.SimpleQueue[list[Operation] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, operations: list[Operation]) -> None:
        self._queue.put(operations)

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        running = True
        while running or self._backlog:
            if not self._backlog:
                first = self._queue.get()
                if first is None:
                    return
                self._backlog = first
            for _ in range(self._queue.qsize()):
                more = self._queue.get()
                if more is None:
                    running = False
                    break
                self._backlog.extend(more)
            try:
                group = self._decide_next()
                self._committer.write(group)
            except BaseException as error:
                self._fail(error)
                return
            self._done(group.operations)
