"""Has the writer delete what is due: in the background, and at once where somebody looks at it.

A record that has expired is answered as missing only when its deletion is durable: a read that finds one waits for that. So
whatever was seen to be gone stays gone. What nobody looks at goes in small groups, which leave the writer to clients for most
of the time. On the bucket's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

from serve_app import events
from serve_app.bucket.expire_write import ExpireWrite
from serve_app.bucket.writer_state import WriterState
from serve_app.errors import StorageFault, StoreError
from serve_app.storage import due
from serve_app.storage.commit import Commit
from serve_app.storage.due import Due
from serve_app.storage.engine import Engine
from serve_app.storage.writer import Writer
from serve_app.threads import hand_over

#: Deleted with one write.
_AT_ONCE = 128
#: The writer is left to clients this many times as long as a group took.
_WAY_TO_CLIENTS = 4.0
_LONGEST_REST_S = 0.25
#: What can't be deleted now, because it is being moved or the disk is damaged, is looked at again after this.
_AGAIN_S = 1.0
#: Nobody sleeps longer: the clock may be set meanwhile.
_LONGEST_SLEEP_S = 1.0
_NEVER_MS = 1 << 62

Then = Callable[[StoreError | None], None]


class ExpiringBucket(Protocol):
    """What of the bucket is needed here."""

    bucket_id: int
    now_ms: Callable[[], int]
    state: WriterState
    writer: Writer

    @property
    def engine(self) -> Engine: ...

    def note_error(self, error: StorageFault) -> None: ...


class Expiry:
    """See the module."""

    def __init__(
        self,
        bucket: ExpiringBucket,
        loop: asyncio.AbstractEventLoop,
        start_reading: Callable[[Callable[[], None]], object],
    ) -> None:
        """start_reading: has a function called in a reading thread."""
        self._bucket, self._loop, self._start_reading = bucket, loop, start_reading
        self._wanted: list[tuple[list[bytes], Then]] = []
        #: When the next is due, and where that is looked for on the disk: what was due before has gone.
        self._next_ms = 0
        self._from_ms = 0
        #: The first of those that were to be deleted last.
        self._first: Due | None = None
        self._sooner = asyncio.Event()

    def delete_now(self, keys: list[bytes], then: Then) -> None:
        """Delete records that have expired; `then` is called when that is durable, or with what came in between. What is
        just being moved is left as it is."""
        if not self._wanted:
            self._loop.call_soon(self._begin)
        self._wanted.append((keys, then))

    def heard(self, commit: Commit) -> None:
        """Some of it may be due sooner than what was waited for."""
        # Their names are in the order of their times: the first says all that matters.
        first = min(
            (name for name, value in commit.facts if value is not None and name.startswith(due.PREFIX)), default=b""
        )
        if first:
            at_ms = due.parse(first).at_ms
            self._from_ms = min(self._from_ms, at_ms)
            if at_ms < self._next_ms:
                self._next_ms = at_ms
                self._sooner.set()

    async def run(self) -> None:
        """Delete what is due, in the background. Never returns."""
        while True:
            try:
                rest_s = await self._step()
            except StoreError as error:
                if isinstance(error, StorageFault):
                    self._bucket.note_error(error)
                rest_s = _AGAIN_S
            except Exception as error:  # it must outlive any surprise: without it nothing is given back
                events.error("expiry failed", exc_info=error, bucket=self._bucket.bucket_id)
                rest_s = _AGAIN_S
            await asyncio.sleep(rest_s)

    async def _step(self) -> float:
        """Delete some, or wait until some are due; how long to rest then, in seconds."""
        bucket = self._bucket
        now_ms = bucket.now_ms()
        if now_ms < self._next_ms:
            self._sooner.clear()
            sleep_s = min((self._next_ms - now_ms) / 1000, _LONGEST_SLEEP_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(sleep_s):
                    await self._sooner.wait()
            return 0.0
        started_s = self._loop.time()
        from_ms, self._from_ms, self._next_ms = self._from_ms, _NEVER_MS, _NEVER_MS  # `heard` lowers them meanwhile
        try:
            dues = await hand_over(self._loop, self._start_reading, lambda: self._first_dues(from_ms))
        except Exception:
            self._from_ms = self._next_ms = min(self._from_ms, from_ms)  # whatever is due from there on still is
            raise
        if not dues:
            return 0.0
        self._from_ms = min(self._from_ms, dues[0].at_ms)
        self._next_ms = min(self._next_ms, dues[0].at_ms)
        now_ms = bucket.now_ms()
        ripe = [each for each in dues if each.at_ms <= now_ms]
        if not ripe:
            return 0.0
        stuck, self._first = ripe[0] == self._first, ripe[0]
        await self._expire(ripe)
        if stuck:
            return _AGAIN_S
        return min((self._loop.time() - started_s) * _WAY_TO_CLIENTS, _LONGEST_REST_S)

    def _first_dues(self, from_ms: int) -> list[Due]:
        start, end = due.bounds(from_ms, _NEVER_MS)
        return [due.parse(name) for name, _ in islice(self._bucket.engine.scan_facts(start, end), _AT_ONCE)]

    async def _expire(self, dues: list[Due]) -> None:
        done: asyncio.Future[Any] = self._loop.create_future()
        self._submit(dues, done)
        await done

    def _begin(self) -> None:
        wanted, self._wanted = self._wanted, []
        done: asyncio.Future[Any] = self._loop.create_future()

        def tell(ended: asyncio.Future[Any]) -> None:
            error = ended.exception() if not ended.cancelled() else None
            for _, then in wanted:
                then(error if isinstance(error, StoreError) else None)

        done.add_done_callback(tell)
        keys = dict.fromkeys(key for some, _ in wanted for key in some)
        self._submit([Due(0, due.RECORD, key) for key in keys], done)

    def _submit(self, dues: list[Due], done: asyncio.Future[Any]) -> None:
        write = ExpireWrite(self._bucket.state, done, dues)
        self._bucket.writer.reserve_own(write)
        self._bucket.writer.submit([write])
