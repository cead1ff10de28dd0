"""A simulated disk: an `Engine` whose volume outlives the process, and which fills, fails and is lost.

It passes the contract of tests/storage/contract.py. `write` makes durable and visible at one instant; what time the sync
takes, and what a crash in its middle leaves, is the simulated writer's business (machine.py), which calls `write` at its end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from serve_app.errors import StorageDamaged
from serve_app.storage.engine import NOT_IN_MEMORY, Changes, EngineFailed, NotInMemory
from serve_app.storage.facts import OF_STORAGE, first_facts, read_bucket_facts, read_storage_facts

#: More than anybody could fill.
PLENTY_BYTES = 1 << 40


class SimulatedDisk:
    """One volume."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random(0)
        self._records: dict[bytes, bytes] = {}
        self._facts: dict[bytes, bytes] = {}
        #: Called before and after a `get` or `scan` reads, where a reading thread does: it may stand still there.
        self.stand_still: Callable[[str], None] | None = None
        #: Free space to report.
        self.free = PLENTY_BYTES
        #: After this many more writes one fails, as a sync does.
        self.fails_in: int | None = None
        #: The next write meets damage; whether its batch is there shows only after a restart.
        self.damaged_next = False
        #: Keys whose records can't be read, until they are written anew.
        self.unreadable: set[bytes] = set()
        self._in_doubt: list[tuple[Changes, Changes]] = []
        #: How many of the records are not in memory, 0 to 1.
        self.cold_share = 0.0
        self.writes = 0
        #: Of these, how many changed something of the bucket.
        self.commits = 0
        #: Gets the facts that a write changes, when they are durable.
        self.changed: Callable[[Changes], None] = lambda facts: None
        #: Gets each batch, when it is durable.
        self.applied: Callable[[Changes, Changes], None] = lambda records, facts: None
        #: Gets the kind of each fault that was met.
        self.happened: Callable[[str], None] = lambda kind: None

    def get(self, key: bytes) -> bytes | None:
        self._stand_still("get")
        try:
            return self._read(key)
        finally:
            self._stand_still("get")

    def get_in_memory(self, key: bytes) -> bytes | NotInMemory | None:
        if key in self.unreadable or (self.cold_share and self._rng.random() < self.cold_share):
            return NOT_IN_MEMORY
        return self._records.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self._stand_still("get")
        try:
            return [self._read(key) for key in keys]
        finally:
            self._stand_still("get")

    def _read(self, key: bytes) -> bytes | None:
        if key in self.unreadable:
            self.happened("read-error")
            raise StorageDamaged(f"the block of {key!r} is damaged")
        return self._records.get(key)

    def _stand_still(self, what: str) -> None:
        if self.stand_still is not None:
            self.stand_still(what)

    def get_fact(self, name: bytes) -> bytes | None:
        return self._facts.get(name)

    def write(self, records: Changes, facts: Changes) -> None:
        if self.fails_in is not None:
            self.fails_in -= 1
        if self.fails_in == -1:
            self.fails_in = None
            self.happened("disk-fails")
            if self._rng.random() < 0.5:
                self._apply(records, facts)
            raise EngineFailed("the disk refused")
        if self.damaged_next:
            self.damaged_next = False
            self.happened("disk-damaged")
            self._in_doubt.append((list(records), list(facts)))
            raise StorageDamaged("a block of the log is damaged")
        self._apply(records, facts)

    def _apply(self, records: Changes, facts: Changes) -> None:
        self.writes += 1
        self.commits += bool(records) or any(not name.startswith(OF_STORAGE) for name, _ in facts)
        self.unreadable.difference_update(key for key, _ in records)
        for target, changes in ((self._records, records), (self._facts, facts)):
            for key, value in changes:
                if value is None:
                    target.pop(key, None)
                else:
                    target[key] = bytes(value)
        self.applied(records, facts)
        if facts:
            self.changed(facts)

    def scan(self, start: bytes = b"", end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        self._stand_still("scan")
        found = sorted(item for item in self._records.items() if item[0] >= start and (end is None or item[0] < end))
        damaged = self.unreadable & {key for key, _ in found}
        self._stand_still("scan")
        return self._walk(found, damaged)

    def _walk(self, found: list[tuple[bytes, bytes]], damaged: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for key, raw in found:
            if key in damaged:
                self.happened("read-error")
                raise StorageDamaged(f"the block of {key!r} is damaged")
            yield key, raw

    def held_keys(self) -> list[bytes]:
        """What it holds, readable or not."""
        return sorted(self._records)

    def held_records(self) -> list[tuple[bytes, bytes]]:
        """As `held_keys`, with the records."""
        return sorted(self._records.items())

    def scan_facts(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._stand_still("scan")
        found = sorted(item for item in self._facts.items() if start <= item[0] < end)
        self._stand_still("scan")
        return iter(found)

    def free_bytes(self) -> int:
        return self.free

    def reclaim(self, enough_bytes: int) -> None:
        pass  # it holds nothing of what was deleted

    def close(self) -> None:
        pass

    def settle(self) -> None:
        """A restart: what was in doubt turns out to be there, or not."""
        for records, facts in self._in_doubt:
            if self._rng.random() < 0.5:
                self._apply(records, facts)
        self._in_doubt.clear()
        self.fails_in, self.damaged_next = None, False


class Volume:
    """A `Storage`: a disk, and the facts of it and of its bucket read when it was opened."""

    def __init__(self, disk: SimulatedDisk, bucket_id: int) -> None:
        self.engine = disk
        where = f"the simulated volume of bucket-{bucket_id}"
        self.own = read_storage_facts(disk.get_fact, bucket_id, where)
        self.facts = read_bucket_facts(disk.get_fact, where)


def new_disk(rng: random.Random, bucket_id: int) -> SimulatedDisk:
    """An empty volume, with what a new bucket's database holds."""
    disk = SimulatedDisk(rng)
    disk.write([], first_facts(bucket_id, f"{rng.getrandbits(128):032x}"))
    return disk
