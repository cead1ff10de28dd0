"""The mover: takes a bucket's keys to their new homes, one small window after the other.

1. Make the intent [cursor, end) durable; writes to keys of the window are held from here on.
2. Send every possible new home its part of the window, even an empty one, with this bucket's revision counter; each writes it
   with a marker in one synced batch, and acknowledges.
3. When all have, hold reads of the window as well, delete the records and advance the cursor in one synced batch, and judge
   everything held anew: it is answered with Moved.

A crash at any point comes back to the intent, with the same bounds and the same records, since nothing could change them.
A part that arrives twice, or late, is acknowledged and not written (`bucket/move_writes.py`, WindowWrite).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from serve_app import events
from serve_app.authority.proposing_bucket import Overtaken
from serve_app.cursor import END, Cursor, possible_homes
from serve_app.errors import StoreError, Unavailable
from serve_app.resharding.moving_bucket import MovingBucket, Scanned
from serve_app.resharding.parts import Part, parts_of
from serve_app.resharding.peers import Peers
from serve_app.topology import Topology
from serve_app.wire.connection import NO_ANSWER
from serve_app.wire.messages import Refused, Window, WindowWritten

#: A window's records, about. Larger ones move faster, smaller ones are held for a shorter time.
WINDOW_BYTES = 1024 * 1024
_WINDOWS_PER_S = 10
#: While clients are at work, the mover rests this many times as long as its last window took.
_WAY_TO_CLIENTS = 3.0
#: No longer than this, though: a window that had to wait for a bucket that was away says nothing of the load.
_LONGEST_REST_S = 1.0
#: A bucket that is away is waited for this many seconds before the status says so; one that is sent much, longer.
_ASK_TIMEOUT_S = 5.0
_LEAST_BYTES_PER_S = 1024 * 1024
_RETRY_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_END_POLL_S = 1.0


class Mover:
    """Runs on the bucket's loop for as long as the bucket lives."""

    def __init__(self, bucket: MovingBucket, peers: Peers, max_bytes_per_s: int, retire: Callable[[], None]) -> None:
        """`retire` is called every second while no store needs this bucket."""
        self._bucket = bucket
        self._peers = peers
        self._max_bytes_per_s = max_bytes_per_s
        # A low rate takes smaller steps, not longer breaths between large ones.
        self._window_bytes = max(1, min(WINDOW_BYTES, max_bytes_per_s // _WINDOWS_PER_S))
        self._retire = retire
        self._attempt = 0

    async def run(self) -> None:
        """Move whatever there is to move. Never returns."""
        while True:
            try:
                await self._step()
                self._attempt = 0
                self._bucket.report_waiting("")
            except Overtaken:
                pass  # the topology has changed; look again
            except NO_ANSWER as error:
                await self._pause(str(error) or type(error).__name__)
            except StoreError as error:
                await self._pause(str(error))
            except Exception as error:  # the mover must outlive any surprise: without it the move never ends
                events.error("mover failed", exc_info=error, bucket=self._bucket.bucket_id)
                await self._pause(repr(error))

    async def _pause(self, reason: str) -> None:
        self._bucket.report_waiting(reason)
        pause_s = _RETRY_S[min(self._attempt, len(_RETRY_S) - 1)]
        self._attempt += 1
        await asyncio.sleep(pause_s)

    async def _step(self) -> None:
        bucket = self._bucket
        topology, cursor = bucket.topology, bucket.cursor
        if topology is None or cursor is None or bucket.fault or not topology.moving:
            await self._rest(topology)
        elif cursor.done:
            await self._wait_for_the_end(topology)
        else:
            started_s, before = asyncio.get_running_loop().time(), bucket.operations
            size = await self._move_window(topology, cursor)
            took_s = asyncio.get_running_loop().time() - started_s
            pause_s = size / self._max_bytes_per_s - took_s
            if bucket.operations != before:
                pause_s = max(pause_s, min(took_s * _WAY_TO_CLIENTS, _LONGEST_REST_S))
            await asyncio.sleep(max(0.0, pause_s))

    async def _rest(self, topology: Topology | None) -> None:
        bucket = self._bucket
        bucket.report_waiting("")  # there is nothing to wait for
        bucket.changed.clear()
        await self._peers.close()
        if bucket.topology is not topology:
            return
        members = 1 if topology is None else len(topology.identities)  # before there is a store, bucket 0 alone stays
        # One of no store may have been refused by a topology of the past, and nobody tells it of a later one.
        to_be_left = not bucket.fault or topology is None
        left_out = to_be_left and bucket.bucket_id >= members
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_POLL_S if left_out else None):
                await bucket.changed.wait()
                return
        self._retire()

    async def _wait_for_the_end(self, topology: Topology) -> None:
        """All of ours has moved: bucket 0 says when the move has ended."""
        bucket = self._bucket
        bucket.changed.clear()
        try:
            async with asyncio.timeout(_END_POLL_S):
                await bucket.changed.wait()
                return
        except TimeoutError:
            pass
        if bucket.bucket_id != 0:
            status = await self._peers.news(0, _ASK_TIMEOUT_S)
            known = status.topology
            if known is not None and known.store_id == topology.store_id and known.epoch > topology.epoch:
                await bucket.install(known)

    # -- one window --------------------------------------------------------------------------------------------------

    async def _move_window(self, topology: Topology, cursor: Cursor) -> int:
        """Move the next window, or the one that was begun; the bytes of its records."""
        bucket = self._bucket
        window: Scanned | None = None
        if not cursor.intent_end:
            # Read first, so that nothing is held for that; what is written meanwhile is noted, and then read again.
            await bucket.note_writes_from(cursor.position)
            scanned = await self._scan_next(topology, cursor)
            cursor, touched = await bucket.intend(cursor, scanned.end)
            window = None if touched else scanned
        if window is None:
            window = await self._read_window(topology, cursor)
        revision = bucket.revision
        parts = parts_of(topology, bucket.bucket_id, window.records, window.outcomes, cursor.intent_end)
        # All at once; and all are waited for, so that none of them is still under way when the next try begins.
        outcomes = await asyncio.gather(
            *(self._give(topology, home, some, revision) for home, some in parts.items()), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        bucket.hold_reads()
        await bucket.advance(cursor, window.records, window.outcomes)
        return sum(len(name) + len(raw) for name, raw in (*window.records, *window.outcomes))

    async def _scan_next(self, topology: Topology, cursor: Cursor) -> Scanned:
        """The next window's records. A bucket that loses none need not look at what it has."""
        if not possible_homes(topology, self._bucket.bucket_id):
            return Scanned([], [], END)
        return await self._bucket.scan(topology, cursor.position, END, self._window_bytes)

    async def _read_window(self, topology: Topology, cursor: Cursor) -> Scanned:
        """All of the window. Its writes are held, so reading it in pieces reads it as of one moment."""
        records: list[tuple[bytes, bytes]] = []
        outcomes: list[tuple[bytes, bytes]] = []
        start = cursor.position
        while True:
            scanned = await self._bucket.scan(topology, start, cursor.intent_end, WINDOW_BYTES)
            records += scanned.records
            outcomes += scanned.outcomes
            if scanned.end == cursor.intent_end:
                return Scanned(records, outcomes, scanned.end)
            start = scanned.end

    async def _give(self, topology: Topology, home: int, parts: list[Part], revision: int) -> None:
        """Bring one new home its parts, in order, until it has acknowledged them."""
        bucket = self._bucket
        for part in parts:
            while True:
                window = Window(bucket.bucket_id, part.end, revision, part.records, part.outcomes)
                answer = await self._peers.ask(
                    home, window, _ASK_TIMEOUT_S + window.payload_bytes / _LEAST_BYTES_PER_S, topology.epoch
                )
                if isinstance(answer, WindowWritten):
                    break
                if isinstance(answer, Refused):
                    raise Unavailable(f"bucket-{home}: {answer.detail}")
                theirs = answer.topology
                if theirs is not None and theirs.epoch > topology.epoch:
                    if theirs.store_id != topology.store_id:
                        raise Unavailable(f"bucket-{home} belongs to another store")
                    await bucket.install(theirs)
                    raise Overtaken("the move goes on under another epoch")
                await self._peers.install(home, _ASK_TIMEOUT_S)
