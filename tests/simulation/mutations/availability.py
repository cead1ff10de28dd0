"""Bugs that lose nothing, and keep the store from doing what it could."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

from serve_app.bucket.held import HeldOperations
from serve_app.bucket.move_writes import CursorWrite
from serve_app.bucket.mover_access import MoverAccess
from serve_app.cursor import Cursor
from serve_app.errors import Unavailable
from serve_app.resharding import mover
from serve_app.resharding.mover import Mover
from serve_app.resharding.moving_bucket import RawRecords
from serve_app.topology import Topology
from tests.simulation.mutations import AVAILABLE, HELD, WHOLE, Mutation


@contextmanager
def a_full_source_gives_nothing_away() -> Iterator[None]:
    """The steps of a mover are refused like puts where the disk is full, though they need no space to speak of."""
    make = CursorWrite.__init__

    def making(self: CursorWrite, *args: Any) -> None:
        make(self, *args)
        self.needs_space = True

    with patch.object(CursorWrite, "__init__", making):
        yield


@contextmanager
def reads_stay_held_where_an_advance_fails() -> Iterator[None]:
    """Reads of the window are let go when it has moved, and by nothing else."""

    async def advancing(self: MoverAccess, before: Cursor, records: RawRecords, kept: RawRecords) -> None:
        self.release = lambda: None  # type: ignore[method-assign]
        try:
            await advance(self, before, records, kept)
        finally:
            del self.release
        self.release()

    advance = MoverAccess.advance
    with patch.object(MoverAccess, "advance", advancing):
        yield


@contextmanager
def a_mover_in_trouble_rests_too_long() -> Iterator[None]:
    """After the third failure in a row it looks again in half a minute."""
    with patch.object(mover, "_RETRY_S", (0.02, 0.05, 30.0)):
        yield


@contextmanager
def a_refused_window_ends_the_mover() -> Iterator[None]:
    """A target that is full is not asked again under this topology."""
    step = Mover._step

    async def stepping(self: Mover) -> None:
        try:
            await step(self)
        except Unavailable as error:
            if "reserve" not in str(error):
                raise
            topology = self._bucket.topology
            while self._bucket.topology is topology:
                self._bucket.changed.clear()
                await self._bucket.changed.wait()

    with patch.object(Mover, "_step", stepping):
        yield


@contextmanager
def what_is_held_keeps_no_deadline() -> Iterator[None]:
    """What waits for a window waits until that has moved, whatever its client was told."""
    with patch.object(HeldOperations, "_sweep", lambda self: None):
        yield


@contextmanager
def a_change_while_links_close_is_forgotten() -> Iterator[None]:
    """A mover with nothing to do closes its links, and waits for the change after the one that came meanwhile."""

    async def resting(self: Mover, topology: Topology | None) -> None:
        bucket = self._bucket
        bucket.report_waiting("")
        await self._peers.close()
        bucket.changed.clear()
        members = 1 if topology is None else len(topology.identities)
        left_out = (not bucket.fault or topology is None) and bucket.bucket_id >= members
        with suppress(TimeoutError):
            async with asyncio.timeout(mover._END_POLL_S if left_out else None):
                await bucket.changed.wait()
                return
        self._retire()

    with patch.object(Mover, "_rest", resting):
        yield


MUTATIONS = [
    Mutation("a full source gives nothing away", 150, AVAILABLE, a_full_source_gives_nothing_away),
    Mutation("reads stay held where an advance fails", 100, AVAILABLE, reads_stay_held_where_an_advance_fails),
    Mutation("a mover in trouble rests too long", 120, AVAILABLE, a_mover_in_trouble_rests_too_long),
    Mutation("a refused window ends the mover", 120, AVAILABLE, a_refused_window_ends_the_mover),
    Mutation("what is held keeps no deadline", 260, AVAILABLE | HELD, what_is_held_keeps_no_deadline),
    Mutation("a change while links close is forgotten", 80, AVAILABLE | WHOLE, a_change_while_links_close_is_forgotten),
]
