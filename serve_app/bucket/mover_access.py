"""The bucket as its mover, coordinator and proposer see it: `resharding.moving_bucket.MovingBucket`, on a real bucket.

Every change goes through the bucket's writer, and everything that reads the disk runs where reads that wait for it run.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from serve_app import outcomes, placement
from serve_app.bucket.bucket import Bucket
from serve_app.bucket.move_writes import AdvanceWrite, IntentWrite, NoteWritesWrite
from serve_app.bucket.queued import CalledWrite, OwnWrite
from serve_app.bucket.topology_writes import CommitTopologyWrite, DecideWrite
from serve_app.bucket.vote_writes import AcceptWrite, PrepareWrite
from serve_app.bucket.writer_state import WriterState
from serve_app.cursor import END, Cursor
from serve_app.operations.body import Answer
from serve_app.resharding.moving_bucket import RawRecords, Scanned
from serve_app.threads import hand_over
from serve_app.topology import Topology
from serve_app.wire.messages import Envelope
from serve_app.wire.voting import Accept, Prepare

#: A scan looks at no more than this before it returns what it has found, records that stay included: others of this process
#: want to run, and the thread.
_MAX_SCANNED = 20_000
_MAX_SCANNED_BYTES = 64 * 1024 * 1024


class MoverAccess:
    """See the module."""

    def __init__(
        self,
        bucket: Bucket,
        loop: asyncio.AbstractEventLoop,
        start_reading: Callable[[Callable[[], None]], object],
        release_held: Callable[[], None],
    ) -> None:
        """start_reading: has a function called in a reading thread. release_held: judges everything held anew."""
        self._bucket = bucket
        self._loop = loop
        self._start_reading = start_reading
        self._release_held = release_held
        self.bucket_id = bucket.bucket_id
        self.identity = bucket.identity
        #: Set when the topology has changed; whoever waits clears it first.
        self.changed = asyncio.Event()

    @property
    def topology(self) -> Topology | None:
        return self._bucket.standing.topology

    @property
    def cursor(self) -> Cursor | None:
        return self._bucket.standing.cursor

    @property
    def fault(self) -> str:
        return self._bucket.standing.fault

    @property
    def revision(self) -> int:
        return self._bucket.totals.revision

    @property
    def operations(self) -> int:
        return sum(latency.count for latency in self._bucket.stats.latency_s.values())

    def report_waiting(self, what: str) -> None:
        self._bucket.report_waiting("mover", what)

    async def note_writes_from(self, start: bytes) -> None:
        await self._commit(lambda state, done: NoteWritesWrite(state, done, start))

    async def scan(self, topology: Topology, start: bytes, end: bytes, max_bytes: int) -> Scanned:
        return await hand_over(self._loop, self._start_reading, lambda: self._scan(topology, start, end, max_bytes))

    async def intend(self, before: Cursor, end: bytes) -> tuple[Cursor, bool]:
        cursor = msgspec.structs.replace(before, intent_end=end)
        written = await self._commit(lambda state, done: IntentWrite(state, done, before, cursor))
        return cursor, written

    def hold_reads(self) -> None:
        self._bucket.hold_reads(True)

    async def advance(self, before: Cursor, records: RawRecords, kept: RawRecords) -> None:
        cursor = msgspec.structs.replace(
            before,
            position=before.intent_end,
            intent_end=b"",
            moved_keys=before.moved_keys + len(records),
            moved_bytes=before.moved_bytes + sum(len(key) + len(raw) for key, raw in records),
        )
        try:
            await self._commit(lambda state, done: AdvanceWrite(state, done, before, cursor, records, kept))
        except Exception:  # not where this is cancelled: the records may just be about to be deleted
            self.release()
            raise
        self.release()

    def release(self) -> None:
        self._bucket.hold_reads(False)
        self._release_held()

    async def decide_alone(self, before: Topology, new: Topology) -> None:
        await self._commit(lambda state, done: DecideWrite(state, done, before, new))

    async def install(self, new: Topology) -> None:
        before = self.topology
        if before is not None and new.epoch > before.epoch:
            await self._commit(lambda state, done: CommitTopologyWrite(state, done, before, new))

    async def vote(self, body: Prepare | Accept) -> Answer:
        told: asyncio.Future[Answer] = self._loop.create_future()
        kind = PrepareWrite if isinstance(body, Prepare) else AcceptWrite
        write = kind(self._bucket.state, Envelope(0, 0, 0, body), _Told(told), math.inf, self._bucket.clock())
        self._bucket.writer.reserve_own(write)
        self._bucket.writer.submit([write])
        return await told

    # -- how ---------------------------------------------------------------------------------------------------------

    async def _commit(self, make: Callable[[WriterState, asyncio.Future[Any]], OwnWrite]) -> Any:
        """Have the writer decide a step; its result, once that is durable and served by."""
        done: asyncio.Future[Any] = self._loop.create_future()
        write = make(self._bucket.state, done)
        self._bucket.writer.reserve_own(write)
        self._bucket.writer.submit([write])
        return await done

    def _scan(self, topology: Topology, start: bytes, end: bytes, max_bytes: int) -> Scanned:
        old_count, new_count, own = topology.bucket_count, topology.target_count, self.bucket_id

        def leaves(key: bytes) -> bool:
            hashed = placement.stable_hash(key)
            return hashed % old_count == own and hashed % new_count != own

        engine = self._bucket.engine
        records, stopped = _first(
            engine.scan(start, None if end == END else end), end, max_bytes, lambda key: key, leaves
        )
        # Outcomes may be many where records are few: those of deleted keys are here too.
        names = engine.scan_facts(*outcomes.bounds(start, None if stopped == END else stopped))
        kept, end_of_kept = _first(names, stopped, max_bytes, outcomes.key_in, leaves)
        if end_of_kept < stopped:
            stopped = end_of_kept
            records = [(key, raw) for key, raw in records if key < stopped]
        return Scanned(records, kept, stopped)


class _Told:
    """This bucket itself, as the caller of a write (`queued.Caller`)."""

    def __init__(self, told: asyncio.Future[Answer]) -> None:
        self._told = told

    def answer(self, write: CalledWrite) -> None:
        if not self._told.done():  # nobody waits for it any more
            assert write.answer is not None, "a decided write has its answer"
            self._told.set_result(write.answer)

    def hold(self, write: CalledWrite) -> None:
        raise AssertionError("a vote is about no key")

    def flush(self) -> None:
        pass


def _first(
    found: Iterator[tuple[bytes, bytes]],
    end: bytes,
    max_bytes: int,
    key_of: Callable[[bytes], bytes],
    leaves: Callable[[bytes], bool],
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """What leaves of what was found, in order, and the key at which there was enough, or `end`."""
    chosen: list[tuple[bytes, bytes]] = []
    size = seen = 0
    last = b""
    for scanned, (name, raw) in enumerate(found):
        key = key_of(name)
        enough = size >= max_bytes or scanned >= _MAX_SCANNED or seen >= _MAX_SCANNED_BYTES
        if enough and key != last:
            return chosen, key
        last = key
        seen += len(raw)
        if leaves(key):
            chosen.append((name, raw))
            size += len(name) + len(raw)
    return chosen, end
