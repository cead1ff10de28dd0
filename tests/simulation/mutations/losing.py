"""Bugs in how the store goes on without a volume that is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import msgspec

from serve_app.authority.proposing_bucket import Overtaken
from serve_app.bucket import writer_state
from serve_app.bucket.move_writes import AdvanceWrite
from serve_app.cli import loss
from serve_app.cursor import Cursor, cursor_for
from serve_app.storage.group import Group
from serve_app.topology import Topology
from tests.simulation.mutations import EPOCHS, HELD, HISTORY, Mutation


@contextmanager
def moves_of_the_same_shape_are_one() -> Iterator[None]:
    """A move from as many buckets to as many is taken for the earlier one: an old volume brings that one's markers."""

    def same(self: Topology, later: Topology) -> bool:
        return self.moving and (self.bucket_count, self.target_count) == (later.bucket_count, later.target_count)

    with patch.object(Topology, "same_move", same):
        yield


@contextmanager
def an_accepted_loss_begins_the_move_anew() -> Iterator[None]:
    """The others forget how far they have moved."""
    with patch.object(Topology, "same_move", lambda self, later: False):
        yield


@contextmanager
def the_new_storage_moves_what_the_lost_one_had() -> Iterator[None]:
    """A source that goes on without its data believes that all its keys are still its own."""

    def beginning(new: Topology, *rest: Any) -> Cursor:
        return cursor_for(msgspec.structs.replace(new, replaced=()), *rest)

    with patch.object(writer_state, "cursor_for", beginning):
        yield


@contextmanager
def epochs_are_counted_from_buckets_alone() -> Iterator[None]:
    """Accepted losses of bucket 0 leave out a thousand epochs from what the other buckets know: where nobody but bucket 0 had
    heard of the first, the second has the same (found by the simulation, seed 4809 of then)."""
    with patch.object(loss, "_epoch_above", lambda found, now_us: found.topology.epoch + 1001):
        yield


@contextmanager
def a_window_is_deleted_in_another_epoch() -> Iterator[None]:
    """The source deletes what a target has acknowledged that the store has gone on without since."""

    def deciding(self: AdvanceWrite, group: Group) -> None:
        state, before = self.state, self.before
        now = state.standing.cursor
        if now is None or (now.position, now.intent_end) != (before.position, before.intent_end):
            raise Overtaken("the cursor is another one by now")
        for key, raw in self.records:
            group.drop(key, raw)
        state.move_cursor(group, msgspec.structs.replace(self.cursor, epoch=now.epoch))

    with patch.object(AdvanceWrite, "decide", deciding):
        yield


MUTATIONS = [
    Mutation("moves of the same shape are one", 2000, HISTORY, moves_of_the_same_shape_are_one),
    Mutation("an accepted loss begins the move anew", 30, HISTORY | HELD, an_accepted_loss_begins_the_move_anew),
    Mutation("the new storage moves what the lost one had", 350, HISTORY, the_new_storage_moves_what_the_lost_one_had),
    Mutation("epochs are counted from buckets alone", 400, EPOCHS, epochs_are_counted_from_buckets_alone),
    Mutation("a window is deleted in another epoch", 400, HISTORY, a_window_is_deleted_in_another_epoch),
]
