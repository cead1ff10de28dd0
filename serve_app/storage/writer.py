"""The writer: group commit. One writer, and one sync for all that queued up while the last sync ran.

`Writer` keeps the queue that feeds a `Committer`, and has no thread: `WriterThread` drives it, and in the simulation a
simulated disk does.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from serve_app import events
from serve_app.errors import Unavailable
from serve_app.storage.commit import Commit
from serve_app.storage.committer import Committer
from serve_app.storage.engine import EngineFailed
from serve_app.storage.group import Group, Write


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
        group_done: Callable[[list[Write], Commit | None], None],
        failed: Callable[[EngineFailed], None],
    ) -> None:
        """`group_done` gets each group's writes after its sync, with what that made durable (None where nothing changed, or
        where damage was met); `failed` gets the error that ends the bucket. Both are called by whatever drives the writer."""
        self._committer = committer
        self._max_queued, self._max_queued_bytes = max_queued, max_queued_bytes
        self._max_group, self._max_group_bytes = max_group, max_group_bytes
        self._group_done, self._failed = group_done, failed
        self._backlog: list[Write] = []
        self.queued = 0
        self.queued_bytes = 0

    def start(self) -> None:
        """Begin to write."""
        raise NotImplementedError

    def reserve(self, write: Write) -> None:
        """Take a place in the queue for a write that is then handed over with `submit`.

        Raises:
            Unavailable: the queue is full, in number or in bytes.
        """
        if self.queued >= self._max_queued or (
            self.queued and self.queued_bytes + write.size_bytes > self._max_queued_bytes
        ):
            raise Unavailable("the bucket's queue of writes is full")
        self.reserve_own(write)

    def reserve_own(self, write: Write) -> None:
        """As `reserve`, for a write of the bucket's own, which no bound keeps out."""
        self.queued += 1
        self.queued_bytes += write.size_bytes

    def submit(self, writes: list[Write]) -> None:
        """Queue writes that have their places. Both are called by one thread only, the bucket's event loop."""
        raise NotImplementedError

    def release(self, writes: list[Write]) -> None:
        """Give back the places of a finished group, on the same thread as `submit`."""
        self.queued -= len(writes)
        self.queued_bytes -= sum(write.size_bytes for write in writes)

    def stop(self) -> None:
        """Commit what is queued and end. Blocks until then."""
        raise NotImplementedError

    # -- for the subclass --------------------------------------------------------------------------------------------

    def _decide_next(self) -> Group:
        """Take and decide the next group of the backlog; `self._committer.write` is what it needs then."""
        group = self._committer.decide(self._first_of_backlog())
        del self._backlog[: len(group.writes)]
        return group

    def _fail(self, error: BaseException) -> None:
        """End the bucket: without its writer it would look alive and answer no write."""
        if not isinstance(error, EngineFailed):
            events.error("writer failed", exc_info=error)
            error = EngineFailed(f"the writer made a mistake: {error!r}")
        self._failed(error)

    def _first_of_backlog(self) -> list[Write]:
        size = 0
        for count, write in enumerate(self._backlog):
            size += write.size_bytes
            if count and (count >= self._max_group or size > self._max_group_bytes):
                return self._backlog[:count]
        return list(self._backlog)


class WriterThread(Writer):
    """A thread of its own drives it: a sync holds up nothing else."""

    def __init__(self, committer: Committer, **options: Any) -> None:
        super().__init__(committer, **options)
        self._queue: queue.SimpleQueue[list[Write] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, writes: list[Write]) -> None:
        self._queue.put(writes)

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
                commit = self._committer.write(group)
                self._group_done(group.writes, commit)
            except BaseException as error:
                self._fail(error)
                return
