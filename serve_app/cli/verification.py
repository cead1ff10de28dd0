"""`verify`: read every bucket of a running store, and say whether each key is at home and the counts match.

It proves something only where all buckets were judged by one topology. So where one changed it meanwhile (a move began or
ended), or had not been told yet, all are read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from serve_app import placement
from serve_app.cli.buckets import Buckets, Seen, look
from serve_app.cli.reading import Count, Reading, read_bucket
from serve_app.command_output.failure import Failure
from serve_app.topology import Topology
from serve_app.wire.connection import NO_ANSWER

_ROUNDS = 4
#: Between rounds: a bucket that is behind is told by a directory within a second or so.
_PAUSE_S = 1.0
#: Buckets read at once. Each reading takes one of the bucket's threads.
_AT_ONCE = 8
_UNTOLD = "it has not been told of the store yet"


@dataclass(frozen=True)
class Verification:
    """What was found. topology: the newest that was met. unread: why the other buckets of the store could not be read."""

    topology: Topology
    readings: dict[int, Reading]
    unread: dict[int, str]

    @property
    def settled(self) -> bool:
        """Whether all buckets were looked at under one topology."""
        looked_at = self.readings.keys() | self.unread.keys()
        return looked_at >= set(range(len(self.topology.identities))) and not any(
            map(self._is_behind, self.readings.values())
        )

    def _is_behind(self, reading: Reading) -> bool:
        """Whether a bucket of the store was judged by another topology. Nobody tells those that are left out."""
        return reading.topology != self.topology and reading.bucket_id < len(self.topology.identities)

    @property
    def problems(self) -> list[str]:
        """What keeps the store from being whole, a sentence each; empty where it is."""
        found = [f"bucket-{bucket_id} could not be read: {why}" for bucket_id, why in sorted(self.unread.items())]
        for bucket_id, reading in sorted(self.readings.items()):
            name = f"bucket-{bucket_id}"
            if self._is_behind(reading):
                found.append(
                    f"{name} goes by the topology of epoch {reading.topology.epoch}, not {self.topology.epoch}: "
                    "nobody has told it yet"
                )
            if reading.misplaced:
                found.append(f"{name} holds {self.misplaced_keys(reading)}")
            if reading.count is Count.WRONG:
                found.append(f"{name} counts {reading.keys:,} keys, and {reading.read:,} were there")
        return found

    @property
    def counts_exact(self) -> bool:
        return all(reading.count is Count.EXACT for reading in self.readings.values())

    @property
    def records(self) -> int:
        """How many records were read."""
        return sum(reading.read for reading in self.readings.values())

    @staticmethod
    def misplaced_keys(reading: Reading) -> str:
        """How many keys a bucket holds that are not at home there."""
        number = f"{'at least ' if reading.at_least else ''}{reading.misplaced:,}"
        return f"{number} {'key that belongs' if reading.misplaced == 1 else 'keys that belong'} elsewhere"


async def verify(buckets: Buckets, progress: Callable[[int], None] = lambda records: None) -> Verification:
    """Read everything. `progress` gets the number of records of each page.

    Raises:
        Failure: nobody knows a store.
        Unavailable: the buckets can't be found, or are of several stores.
    """
    for attempt in range(_ROUNDS):
        if attempt:
            await asyncio.sleep(_PAUSE_S)
        found = await _read_all(buckets, progress)
        if found.settled and _UNTOLD not in found.unread.values():
            break
    return found


async def _read_all(buckets: Buckets, progress: Callable[[int], None]) -> Verification:
    seen = await look(buckets)
    if seen.topology is None:
        away = "".join(f"; bucket-{bucket_id}: {why}" for bucket_id, why in sorted(seen.away.items()))
        raise Failure(f"no bucket knows of a store: it has not been founded yet, or its volumes are lost{away}")
    unread = _unreadable(seen, seen.topology)
    to_read = [bucket_id for bucket_id in seen.statuses if bucket_id not in unread and _is_to_be_read(seen, bucket_id)]
    turns = asyncio.Semaphore(_AT_ONCE)

    async def read(bucket_id: int) -> Reading:
        async with turns:
            return await read_bucket(buckets, bucket_id, progress)

    outcomes = await asyncio.gather(*map(read, to_read), return_exceptions=True)
    readings: dict[int, Reading] = {}
    newest = seen.topology
    for bucket_id, outcome in zip(to_read, outcomes, strict=True):
        if isinstance(outcome, Reading):
            readings[bucket_id] = outcome
            newest = max(newest, outcome.topology, key=lambda topology: topology.epoch)
        elif isinstance(outcome, NO_ANSWER):
            if bucket_id < len(seen.topology.identities):  # the others are about to end
                unread[bucket_id] = str(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
    return Verification(newest, readings, unread)


def _is_to_be_read(seen: Seen, bucket_id: int) -> bool:
    """One beyond the store's buckets is about to join, or has been left out. If that still holds keys of this store, they
    are misplaced; what it holds of another one is no concern of ours."""
    topology, status = seen.topology, seen.statuses[bucket_id]
    assert topology is not None
    if bucket_id < len(topology.identities):
        return True
    return status.topology is not None and status.topology.store_id == topology.store_id


def _unreadable(seen: Seen, topology: Topology) -> dict[int, str]:
    """The store's buckets that there is no use in reading, and why."""
    found: dict[int, str] = {}
    for bucket_id in range(len(topology.identities)):
        if bucket_id in seen.away:
            found[bucket_id] = seen.away[bucket_id]
            continue
        status = seen.statuses[bucket_id]
        of = status.topology
        if of is not None and of.store_id != topology.store_id:
            found[bucket_id] = f"its storage belongs to the store {of.store_id}, not {topology.store_id}"
        elif seen.stray(bucket_id):
            found[bucket_id] = (
                f"its storage has identity {status.identity}, but the store knows it as "
                f"{topology.identities[bucket_id]}: the volume came back empty or is another one. Bring the right one "
                f"back; `accept-loss {bucket_id}` goes on without its data"
            )
        elif status.fault:
            found[bucket_id] = status.fault
        elif of is None:
            found[bucket_id] = _UNTOLD
    return found


def where(key: bytes, topology: Topology) -> str:
    """Where a key belongs."""
    home = placement.bucket_of(key, topology.bucket_count)
    new_home = placement.bucket_of(key, topology.target_count)
    if not topology.moving or home == new_home:
        return f"bucket-{home}"
    return f"bucket-{home}, or bucket-{new_home} once it has moved"
