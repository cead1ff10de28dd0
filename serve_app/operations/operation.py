"""An operation: what a client asks of a key. Each is a class in a module of its own, listed in `operations/__init__.py`.

Directories route it, buckets run it, statistics count it, and retries and limits go by what its class declares.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from serve_app.operations.body import A, Body
from serve_app.record_bounds import MAX_KEY_BYTES


class Records(Protocol):
    """A bucket's records as one write sees them: with the changes of the writes before it. In the writer's thread."""

    def get(self, key: bytes) -> bytes | None:
        """A stored record's bytes, or None. Raises StorageDamaged."""

    def put(self, key: bytes, raw: bytes) -> None:
        """Store a record."""

    def delete(self, key: bytes) -> None:
        """Remove a record that `get` found."""

    def next_revision(self) -> int:
        """A revision that this bucket has never given before."""


class Operation(Body[A]):
    """See the module."""

    #: Whether it changes anything: a write that was sent is never sent again.
    writes: ClassVar[bool] = False
    key: bytes

    def problem(self) -> str:
        return "" if 1 <= len(self.key) <= MAX_KEY_BYTES else f"a key has 1 to {MAX_KEY_BYTES} bytes"


class ReadOperation(Operation[A]):
    """Answered from a key's record, wherever that is found first: in memory, or by a reading thread on the disk."""

    def answer(self, raw: bytes | None) -> A:
        """The answer, given the record's bytes, or None where no record has the key.

        Raises:
            StorageDamaged, StorageNewer: the bytes are no record that this release can read.
        """
        raise NotImplementedError


class WriteOperation(Operation[A]):
    """Decided by the bucket's writer, in order, and answered after the sync."""

    writes: ClassVar[bool] = True

    def decide(self, records: Records, now_ms: int) -> A:
        """Change the records; the answer. now_ms: milliseconds since the Unix epoch.

        Raises:
            StoreError: it is refused, and has changed nothing. (Anything else is a mistake, after which nobody knows what it
                has changed of its group: it ends the bucket's process, which then has the state of the group before.)
        """
        raise NotImplementedError
