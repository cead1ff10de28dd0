"""Bugs in how the store goes on without a volume that is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import msgspec

from serve_app.bucket import operations
from serve_app.cursor import Cursor, cursor_for
from serve_app.topology import Topology
from tests.simulation.mutations import HELD, HISTORY, Mutation


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

    with patch.object(operations, "cursor_for", beginning):
        yield


MUTATIONS = [
    Mutation("moves of the same shape are one", 250, HISTORY, moves_of_the_same_shape_are_one),
    Mutation("an accepted loss begins the move anew", 30, HISTORY | HELD, an_accepted_loss_begins_the_move_anew),
    Mutation("the new storage moves what the lost one had", 350, HISTORY, the_new_storage_moves_what_the_lost_one_had),
]
