"""Bugs that lose nothing, and keep the store from doing what it could."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

from serve_app.bucket.held import HeldOperations
from serve_app.bucket.move_operations import AdvanceOperation, IntentOperation, OwnOperation
from serve_app.bucket.source import BucketSource
from serve_app.cursor import Cursor
from serve_app.errors import Unavailable
from serve_app.resharding import mover
from serve_app.resharding.mover import Mover
from serve_app.resharding.source import Records
from serve_app.topology import Topology
from tests.simulation.mutations import AVAILABLE, HELD, WHOLE, Mutation


@contextmanager
def a_full_source_gives_nothing_away() -> Iterator[None]:
    """The steps of a mover are refused like puts where the disk is full, though they need no space to speak of."""
    make = OwnOperation.__init__

    def making(self: OwnOperation, *args: Any) -> None:
        make(self, *args)
        self.needs_space = isinstance(self, (IntentOperation, AdvanceOperation))

    with patch.object(OwnOperation, "__init__", making):
        yield


@contextmanager
def reads_stay_held_where_an_advance_fails() -> Iterator[None]:
    """Reads of the window are let go when it has moved, and by nothing else."""

    async def advancing(self: BucketSource, before: Cursor, records: Records) -> None:
        self.release = lambda: None  # type: ignore[method-assign]
        try:
            await advance(self, before, records)
        finally:
            del self.release
        self.release()

    advance = BucketSource.advance
    with patch.object(BucketSource, "advance", advancing):
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
            topology = self._source.topology
            while self._source.topology is topology:
                self._source.changed.clear()
                await self._source.changed.wait()

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
        source = self._source
        source.wait_for("")
        await self._peers.close()
        source.changed.clear()
        members = 1 if topology is None else len(topology.identities)
        left_out = not source.fault and source.bucket_id >= members
        with suppress(TimeoutError):
            async with asyncio.timeout(mover._END_POLL_S if left_out else None):
                await source.changed.wait()
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
