"""Reading one bucket from end to end while clients are at work: are its keys at home, and does its count match?

Every record is judged by the bucket itself, by its own topology and cursor, page by page. The count is asked for before and
after. Where nothing was written in between, it must be the number of records read; else the difference may be no larger
than the number of writes, which the revisions tell. A quiet moment is looked for a few times before that is settled for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from serve_app.cli.buckets import Buckets
from serve_app.errors import Unavailable
from serve_app.topology import Topology
from serve_app.wire.connection import NO_ANSWER
from serve_app.wire.messages import MISPLACED_NAMED, Status, Survey, Surveyed

_PAGE_TIMEOUT_S = 120.0
#: A bucket is read again for a better comparison, at most this many times and for this many seconds.
_READINGS = 10
_PATIENCE_S = 20.0
#: A count is called wrong only when it has been so every time: not for what a bucket was just about to count.
_READINGS_TO_CONDEMN = 3
_PAUSE_S = 0.05
#: Of the misplaced keys that the pages name, a reading keeps the first few.
_NAMED = 10


class Count(Enum):
    """How the bucket's count compares with the records read."""

    EXACT = "exact"
    WRONG = "wrong"
    #: Writes came meanwhile, and the difference is no larger than their number.
    EXPLAINED = "explained"
    #: Keys came or left meanwhile in a move, which no revision tells.
    MOVING = "moving"


@dataclass(frozen=True)
class Reading:
    """One bucket, read once.

    keys: what it counted afterwards; read: the records that were there; writes: how many came in between.
    misplaced: how many keys are not at home, or at_least this many; named: the first of them.
    """

    bucket_id: int
    topology: Topology
    keys: int
    read: int
    writes: int
    misplaced: int
    at_least: bool
    named: tuple[bytes, ...]
    count: Count


async def read_bucket(buckets: Buckets, bucket_id: int, progress: Callable[[int], None]) -> Reading:
    """Read a bucket, until its count is exact or is known not to be. `progress` gets the number of records of each page.

    Raises:
        Unavailable, ConnectionBroken, CallExpired: it can't be read.
    """
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + _PATIENCE_S
    readings: list[Reading] = []
    trouble: Exception | None = None
    for attempt in range(1, _READINGS + 1):
        try:
            reading = await _read_once(buckets, bucket_id, progress)
        except NO_ANSWER as error:
            if trouble is not None:
                raise
            trouble = error  # it may have been restarted just now
            continue
        if reading is not None:
            readings.append(reading)
            if reading.count is Count.EXACT:
                return reading
        suspect = any(reading.count is Count.WRONG for reading in readings)
        if attempt >= (_READINGS_TO_CONDEMN if suspect else 2) and loop.time() > give_up_s:
            break
        await asyncio.sleep(_PAUSE_S)
    for reading in reversed(readings):
        if reading.count is Count.WRONG:
            return reading
    if not readings:
        raise Unavailable(f"bucket-{bucket_id}: its topology changed each time that it was read")
    return readings[-1]


async def _read_once(buckets: Buckets, bucket_id: int, progress: Callable[[int], None]) -> Reading | None:
    """One reading, or None where the bucket took on another topology or another storage meanwhile."""
    before = await buckets.status(bucket_id)
    if before.topology is None:
        raise Unavailable(f"bucket-{bucket_id} knows of no store")
    if before.fault:
        raise Unavailable(f"bucket-{bucket_id}: {before.fault}")
    named: list[bytes] = []
    read, misplaced, at_least, start = 0, 0, False, b""
    while True:
        page = await buckets.ask(bucket_id, Survey(start), _PAGE_TIMEOUT_S)
        if not isinstance(page, Surveyed) or page.epoch != before.topology.epoch:
            return None
        progress(page.keys)
        read += page.keys
        misplaced += len(page.misplaced)
        at_least = at_least or len(page.misplaced) >= MISPLACED_NAMED
        named += page.misplaced[: _NAMED - len(named)]
        start = page.next_start
        if not start:
            break
    after = await buckets.status(bucket_id)
    if (after.topology, after.identity) != (before.topology, before.identity):
        return None
    return Reading(
        bucket_id,
        before.topology,
        after.keys,
        read,
        after.revision - before.revision,
        misplaced,
        at_least,
        tuple(named),
        _compare(before, after, read),
    )


def _compare(before: Status, after: Status, read: int) -> Count:
    assert before.topology is not None
    if _state(before) == _state(after) and not after.queued_writes:
        return Count.EXACT if read == after.keys else Count.WRONG
    if before.topology.moving:
        return Count.MOVING
    # Each write changes one key and the revision by one; those that are queued may be on disk and not counted yet.
    writes = after.revision - before.revision + after.queued_writes
    close = abs(read - before.keys) <= writes and abs(read - after.keys) <= writes
    return Count.EXPLAINED if close else Count.WRONG


def _state(status: Status) -> tuple[int, ...]:
    """What differs between two moments in between which something was written, or moved."""
    return status.revision, status.keys, status.bytes, status.moved_keys
