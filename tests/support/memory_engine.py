"""An engine in memory, with the disk's failures at hand: what the tests of the code above storage run on.

It passes the same contract as RocksDB's (tests/storage/contract.py). What was written is durable when `write` returns, as
with a synced batch; `crash` gives the engine that a restart would find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serve_app.errors import StorageDamaged
from serve_app.storage.engine import NOT_IN_MEMORY, Changes, EngineFailed, NotInMemory
from serve_app.storage.facts import first_facts

_PLENTY_BYTES = 1 << 40


class MemoryEngine:
    """See the module."""

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}
        self._facts: dict[bytes, bytes] = {}
        #: Free space to report.
        self.free = _PLENTY_BYTES
        #: The next write fails, as a sync does.
        self.fail_next_write = False
        #: Keys whose block is damaged.
        self.damaged: set[bytes] = set()
        #: Facts whose block is damaged.
        self.damaged_facts: set[bytes] = set()
        #: Keys that only the disk knows.
        self.cold: set[bytes] = set()
        self.writes = 0
        self.reclaims = 0

    def get(self, key: bytes) -> bytes | None:
        if key in self.damaged:
            raise StorageDamaged(f"the block of {key!r} is damaged")
        return self._records.get(key)

    def get_in_memory(self, key: bytes) -> bytes | NotInMemory | None:
        if key in self.cold or key in self.damaged:
            return NOT_IN_MEMORY
        return self._records.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def get_fact(self, name: bytes) -> bytes | None:
        if name in self.damaged_facts:
            raise StorageDamaged(f"the block of {name!r} is damaged")
        return self._facts.get(name)

    def write(self, records: Changes, facts: Changes) -> None:
        if self.fail_next_write:
            raise EngineFailed("the disk refused")
        self.writes += 1
        for target, changes in ((self._records, records), (self._facts, facts)):
            for key, value in changes:
                if value is None:
                    target.pop(key, None)
                else:
                    target[key] = bytes(value)

    def scan(self, start: bytes = b"", end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        # A list of them first, in one step: the writer's thread may just be changing them.
        found = sorted(
            item for item in list(self._records.items()) if item[0] >= start and (end is None or item[0] < end)
        )
        return self._walk(found, self.damaged)

    def _walk(self, found: list[tuple[bytes, bytes]], damaged: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for key, raw in found:
            if key in damaged:
                raise StorageDamaged(f"the block of {key!r} is damaged")
            yield key, raw

    def scan_facts(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        found = sorted(item for item in list(self._facts.items()) if start <= item[0] < end)
        return self._walk(found, self.damaged_facts)

    def free_bytes(self) -> int:
        return self.free

    def reclaim(self, enough_bytes: int) -> None:
        self.reclaims += 1

    def close(self) -> None:
        pass

    def crash(self) -> MemoryEngine:
        """What is on disk, as a new engine."""
        after = MemoryEngine()
        after._records, after._facts = dict(self._records), dict(self._facts)
        return after


def new_bucket_engine(bucket_id: int) -> MemoryEngine:
    """A memory engine that holds what a new bucket's database holds."""
    engine = MemoryEngine()
    engine.write([], first_facts(bucket_id))
    return engine
