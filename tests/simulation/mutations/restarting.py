"""Bugs in what a bucket knows after a restart, and in who may join the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from serve_app.bucket.writer_state import WriterState
from serve_app.storage import facts
from serve_app.storage.facts import MARKERS, BucketFacts
from serve_app.storage.group import Group
from serve_app.topology import Topology
from tests.simulation import disk
from tests.simulation.mutations import FACTS, HISTORY, SERVED, Mutation


@contextmanager
def markers_are_forgotten_at_a_restart() -> Iterator[None]:
    """A bucket that starts believes that nothing has come from anybody."""

    def reading(*args: Any) -> BucketFacts:
        return dataclasses.replace(facts.read_bucket_facts(*args), markers={})

    with patch.object(disk, "read_bucket_facts", reading):
        yield


@contextmanager
def a_topology_comes_without_its_markers() -> Iterator[None]:
    """A topology is made durable with its cursor; the markers on the disk stay those of another."""
    install = WriterState.install

    def installing(self: WriterState, group: Group, new: Topology) -> None:
        stored = group._facts.get(MARKERS)
        install(self, group, new)
        group._facts.pop(MARKERS, None)
        if stored is not None:
            group._facts[MARKERS] = stored

    with patch.object(WriterState, "install", installing):
        yield


@contextmanager
def an_empty_storage_joins_in_place_of_another() -> Iterator[None]:
    """A bucket of no store takes on whatever topology it is told, as if it were the storage that was asked to join."""
    given_up = WriterState._is_given_up_by

    def judging(self: WriterState, new: Topology) -> bool:
        if self.topology is None and new.moving and self.bucket_id >= new.bucket_count:
            return False
        return given_up(self, new)

    with patch.object(WriterState, "_is_given_up_by", judging):
        yield


MUTATIONS = [
    Mutation("markers are forgotten at a restart", 15, SERVED | HISTORY, markers_are_forgotten_at_a_restart),
    Mutation("a topology comes without its markers", 10, FACTS, a_topology_comes_without_its_markers),
    Mutation("an empty storage joins in place of another", 150, FACTS, an_empty_storage_joins_in_place_of_another),
]
