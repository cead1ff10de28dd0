"""Has the engine give space back while the disk is full: what is deleted is to make room for what is put.

On the bucket's loop; the engine works in a thread, once at a time.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from serve_app import events
from serve_app.errors import StorageFault
from serve_app.storage.engine import Engine
from serve_app.storage.facts import Totals

#: Between two attempts: deletes come in many small groups, and each attempt flushes.
_PAUSE_S = 1.0


class FullBucket(Protocol):
    """What of the bucket is needed here."""

    bucket_id: int

    @property
    def engine(self) -> Engine: ...

    @property
    def totals(self) -> Totals: ...

    @property
    def disk_full(self) -> bool: ...

    def note_error(self, error: StorageFault) -> None: ...


class SpaceKeeper:
    """Tries when the disk becomes full, and again whenever the records have become fewer since."""

    def __init__(
        self,
        bucket: FullBucket,
        reserve_bytes: int,
        loop: asyncio.AbstractEventLoop,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._bucket, self._reserve_bytes, self._loop, self._pause_s = bucket, reserve_bytes, loop, pause_s
        self._task: asyncio.Task[None] | None = None
        #: The bytes of records there were at the last attempt; None where there was none since the disk had room.
        self._bytes_tried: int | None = None

    def look(self) -> None:
        """After each group: begin where it may help."""
        if not self._bucket.disk_full:
            self._bytes_tried = None
        elif self.idle and self._may_help():
            self._task = self._loop.create_task(self._reclaim())

    @property
    def idle(self) -> bool:
        """Whether no attempt runs."""
        return self._task is None or self._task.done()

    async def stop(self) -> None:
        """Let an attempt that runs end: the engine must not be closed under it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _may_help(self) -> bool:
        return self._bytes_tried is None or self._bucket.totals.bytes < self._bytes_tried

    async def _reclaim(self) -> None:
        engine = self._bucket.engine
        enough_bytes = 2 * self._reserve_bytes  # so that the reserve isn't reached again at once
        while self._may_help() and (free_before := engine.free_bytes()) < enough_bytes:
            self._bytes_tried = self._bucket.totals.bytes
            attempt = asyncio.ensure_future(self._loop.run_in_executor(None, engine.reclaim, enough_bytes))
            try:
                await asyncio.shield(attempt)
            except asyncio.CancelledError:
                await asyncio.wait([attempt])
                raise
            except StorageFault as error:
                self._bucket.note_error(error)
            else:
                freed = engine.free_bytes() - free_before
                if freed > 0:
                    events.info("space given back", bucket=self._bucket.bucket_id, bytes=freed)
            await asyncio.sleep(self._pause_s)
