"""What mover and coordinator need of the bucket they run in. `bucket/mover_access.py` implements it on a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from serve_app.authority.proposing_bucket import ProposingBucket
from serve_app.cursor import Cursor
from serve_app.topology import Topology

#: Keys and records, or names and outcomes, as they are stored, in the order of the keys.
RawRecords = Sequence[tuple[bytes, bytes]]


class Scanned(NamedTuple):
    """What moves of the keys in [start, end): records, and outcomes of requests (`serve_app/outcomes.py`). end is where the
    scan stopped."""

    records: RawRecords
    outcomes: RawRecords
    end: bytes


class MovingBucket(ProposingBucket, Protocol):
    """A bucket that takes part in a move: as a source of keys, or as the one whose coordinator sees the move through."""

    #: Set when the topology has changed.
    changed: asyncio.Event

    @property
    def cursor(self) -> Cursor | None:
        """The durable cursor."""

    @property
    def fault(self) -> str:
        """Why the bucket serves nothing, or empty."""

    @property
    def revision(self) -> int:
        """The counter as of the last synced group."""

    @property
    def operations(self) -> int:
        """How many operations of clients have been answered."""

    def report_waiting(self, what: str) -> None:
        """Remember, for the status, what the move waits for here; empty for nothing."""

    async def note_writes_from(self, start: bytes) -> None:
        """From when this returns, writes to keys from `start` on are noted, until the next `intend`."""

    async def scan(self, topology: Topology, start: bytes, end: bytes, max_bytes: int) -> Scanned:
        """What leaves this bucket of the first keys in [start, end): `max_bytes` and a little, at least of one key."""

    async def intend(self, before: Cursor, end: bytes) -> tuple[Cursor, bool]:
        """Make the intent to move [position, end) durable; from then on writes to its keys are held.

        Returns the cursor, and whether something was written since `note_writes_from`. Raises Overtaken where the cursor is
        not `before` any more.
        """

    def hold_reads(self) -> None:
        """Hold reads of the window as well, until `advance`."""

    async def advance(self, before: Cursor, records: RawRecords, outcomes: RawRecords) -> None:
        """Delete the records and outcomes and advance the cursor to the intent's end in one batch, then judge everything
        held anew."""
