"""What the writer makes of a window's outcomes and of a topology that its storage's part in the store begins with; found by
the simulation, where clocks are wrong, buckets leave and come back, and volumes are lost twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from serve_app import outcomes
from serve_app.bucket.move_writes import WindowWrite
from serve_app.bucket.platform import Platform
from serve_app.bucket.standing import Standing
from serve_app.bucket.writer_state import WriterState
from serve_app.changes import PUT
from serve_app.cursor import Cursor
from serve_app.outcomes import OUTCOMES_KEPT_MS, Outcome
from serve_app.storage.extent import Extent
from serve_app.storage.facts import Totals
from serve_app.storage.feed import FeedLog
from serve_app.storage.group import Group
from serve_app.topology import Topology
from serve_app.wire.messages import Envelope, Window
from tests.support.memory_engine import MemoryEngine

_MOVING = Topology(4, 1, 2, "store", ("zero", "one"), move_epoch=4)
_NOW_MS = 2_000_000_000_000


class _Storage:
    """Bucket 1's, with a clock that stands still."""

    def __init__(self, topology: Topology | None, identity: str = "one") -> None:
        cursor = None if topology is None else Cursor(topology.epoch, b"")
        platform = replace(Platform(), now_ms=lambda: _NOW_MS)
        self.state = WriterState(1, identity, Standing(topology, cursor, {}), platform, lambda error: None, 10)
        self.engine = MemoryEngine()
        self.feed = FeedLog(self.engine, Extent(), 1000)
        self.totals = Totals(0, 0, 0)
        group = self.group()
        group.tell(PUT, b"k", group.next_revision())
        self.write(group)

    def group(self) -> Group:
        return Group(self.engine, self.totals, self.feed)

    def write(self, group: Group) -> None:
        group.write()
        self.totals = group.totals

    def extent_after(self, topology: Topology) -> Extent:
        group = self.group()
        self.state.install(group, topology)
        self.write(group)
        return self.feed.extent


def test_an_outcome_is_kept_at_its_new_home_for_as_long_as_at_the_old_one_whatever_the_clocks_say() -> None:
    """Seed 1224: it was due at once by the clock of the new home, and the request that came again was carried out again."""
    storage, name = _Storage(_MOVING), outcomes.name_of(b"k", b"request")
    raw = outcomes.encode(Outcome(_NOW_MS - 3_600_000, b"digest", b"answer"))
    caller: Any = None
    write = WindowWrite(storage.state, Envelope(1, 1000, 4, Window(0, b"z", 7, [], [(name, raw)])), caller, 1.0, 0.0)
    group = storage.group()
    write.decide(group)
    kept = group.outcome(name)
    assert kept == Outcome(_NOW_MS + OUTCOMES_KEPT_MS, b"digest", b"answer")


def test_a_bucket_that_comes_back_tells_of_nothing_that_was_before_though_it_missed_the_end_of_its_leaving() -> None:
    """Seed 1154: a watch was told of what had been before the bucket left, after what had happened since."""
    leaving = Topology(4, 2, 1, "store", ("zero", "one"), move_epoch=4)
    extent = _Storage(leaving).extent_after(Topology(6, 1, 2, "store", ("zero", "one"), move_epoch=6))
    assert extent == Extent(1, began=2)


def test_a_bucket_that_leaves_still_tells_of_what_was_last() -> None:
    """Seed 2019, of a fix: directories that had not heard all of it lost their history."""
    leaving = Topology(4, 2, 1, "store", ("zero", "one"), move_epoch=4)
    assert _Storage(leaving).extent_after(leaving.end_move()) == Extent()


def test_a_joining_bucket_goes_on_telling_under_another_epoch_of_the_same_move() -> None:
    again = msgspec.structs.replace(_MOVING, epoch=5, identities=("another", "one"), replaced=(0,), revision_base=1000)
    assert _Storage(_MOVING).extent_after(again) == Extent()


def test_a_storage_in_place_of_a_lost_one_that_was_joining_does_not_pass_for_one_that_joins() -> None:
    """Seed 1030: what the lost one had told was missed, and nobody was told so."""
    accepted = msgspec.structs.replace(_MOVING, epoch=5, identities=("zero", "new"), replaced=(1,), revision_base=1000)
    assert _Storage(None, "new").extent_after(accepted) == Extent(1000)
