"""The engine: the few things the store asks of a disk.

Two engines exist: RocksDB (`rocks.py`) and the one in tests/ that the simulation runs on. Both pass the same contract
tests (tests/storage/contract.py), so what the simulation shows of the code above holds on the real one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol


class EngineFailed(Exception):
    """A write could not be made durable. What the disk holds is unknown until the log is replayed: the process must
    end, and must not retry the sync (a second fsync may succeed without the data: PostgreSQL's "fsyncgate", 2018)."""


class NotInMemory:
    """The type of `NOT_IN_MEMORY`."""


#: Answer of `get_in_memory` when only the disk knows.
NOT_IN_MEMORY = NotInMemory()

#: Changes in one batch: (key, new bytes) or (key, None) to delete.
Changes = Sequence[tuple[bytes, bytes | None]]


class Engine(Protocol):
    """Ordered records and a few named facts, changed together in atomic, synced batches.

    Every method may be called from any thread; `write` from one at a time. All raise `StorageDamaged` where a checksum
    fails.
    """

    def get(self, key: bytes) -> bytes | None:
        """The stored bytes, or None. Never shows a write whose `write` has not returned."""

    def get_in_memory(self, key: bytes) -> bytes | NotInMemory | None:
        """As `get`, without touching the disk: `NOT_IN_MEMORY` when that can't be told."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `get` for each, in one call."""

    def get_fact(self, name: bytes) -> bytes | None:
        """A fact of the bucket's own, or None."""

    def scan_facts(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Facts with start <= name < end in the order of their bytes, as of the call."""

    def write(self, records: Changes, facts: Changes) -> None:
        """Apply all changes or none, and return when they are on disk.

        Raises:
            EngineFailed: the disk refused; the process must end.
            StorageDamaged: a file is damaged; the batch may or may not be there, and no further write is taken.
        """

    def scan(self, start: bytes = b"", end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Records with start <= key < end in the order of their bytes, as of the call."""

    def free_bytes(self) -> int:
        """Space left on the disk for this process."""

    def reclaim(self, enough_bytes: int) -> None:
        """Give back what deleted records still take of the disk, until this much is free or nothing more can be done.

        May take long, holds up no other call, and is called from one thread at a time. Changes no record.
        """

    def close(self) -> None:
        """Release the folder. Idempotent."""
