"""What the simulated world says of lost volumes: when their records were lost, and whether they may come back."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app import placement
from serve_app.cursor import END, Cursor
from serve_app.topology import Topology
from tests.simulation import bugs_table
from tests.simulation.loop import new_loop
from tests.simulation.losses import LostVolume
from tests.simulation.observer import SeenRevision, fallen
from tests.simulation.plan import draw
from tests.simulation.world import World

_IDENTITIES = ("0" * 32, "1" * 32, "2" * 32)
_KEY = next(key for key in map("k{}".format, range(100)) if placement.stable_hash(key.encode()) % 6 == 2)
"""Its old home of two is bucket 0, and its new one of three is bucket 2."""


def _topology(epoch: int, count: int, target: int) -> Topology:
    return Topology(epoch, count, target, "s" * 32, _IDENTITIES[: max(count, target)], (), epoch)


@pytest.fixture
def world() -> World:
    return World(new_loop(), random.Random(0), draw(random.Random(0)))


def _at(world: World, now_s: float) -> None:
    world.loop._now_s = now_s


def test_what_a_lost_target_had_taken_is_served_by_its_source_until_the_window_has_moved(world: World) -> None:
    """Seed 3132, once: a read at the source after the loss, whose revision fell when the source had moved the window."""
    lost = LostVolume(2, _topology(2, 2, 3), "lost", 2.0, set(), {})
    _at(world, 1.0)
    world._note_window(0, Cursor(2, b"", END))
    _at(world, 3.0)
    world._note_window(0, Cursor(2, END))
    assert world.lost_at_s(lost, _KEY) == [2.0, 3.0]
    key = _KEY.encode()
    read_at_the_source = SeenRevision(key, 7, False, 2.2, 2.4)
    assert not fallen([read_at_the_source, SeenRevision(key, 1, True, 3.5, 4.0)], lambda _: world.lost_at_s(lost, _KEY))
    read_at_the_target = SeenRevision(key, 7, False, 3.2, 3.4)
    assert fallen([read_at_the_target, SeenRevision(key, 1, True, 3.5, 4.0)], lambda _: world.lost_at_s(lost, _KEY))


def test_a_window_that_was_not_open_at_the_loss_says_nothing_of_it(world: World) -> None:
    lost = LostVolume(2, _topology(2, 2, 3), "lost", 2.0, set(), {})
    _at(world, 2.5)
    world._note_window(0, Cursor(2, b"", END))
    _at(world, 3.0)
    world._note_window(0, Cursor(2, END))
    assert world.lost_at_s(lost, _KEY) == [2.0]


def test_a_window_is_the_same_under_the_epoch_of_an_accepted_loss(world: World) -> None:
    _at(world, 1.0)
    world._note_window(0, Cursor(2, b"", b"m"))
    _at(world, 2.0)
    world._note_window(0, Cursor(3, b"", b"m"))
    _at(world, 3.0)
    world._note_window(0, Cursor(3, b"m"))
    assert [(window.open_s, window.moved_s) for window in world.moved_windows] == [(1.0, 3.0)]


def _knows(topology: Topology | None) -> Any:
    return SimpleNamespace(view=SimpleNamespace(topology=topology))


def test_an_old_volume_comes_back_only_where_everybody_knows_that_its_bucket_has_left() -> None:
    """Seeds 3865 and 3883, once: a directory woke that knew of an earlier time, and looked for a bucket that nobody wanted.
    Its old volume came back then, and was told of nothing, or of what does not list it, and so did not end."""
    seed = next(seed for seed in range(1000) if draw(random.Random(seed)).old_volumes_return)
    world = World(new_loop(), random.Random(0), draw(random.Random(seed)))
    world.topology = _topology(9, 2, 2)
    for node in world.directories:
        node.directory = _knows(world.topology)
    assert world.may_return(2)
    assert not world.may_return(1), "it is a part of the store"
    world.directories[0].directory = _knows(_topology(5, 3, 3))
    assert not world.may_return(2)
    world.directories[0].directory = None
    assert not world.may_return(2)


def test_the_table_of_put_in_bugs_is_that_of_the_code() -> None:
    assert bugs_table.stated() == bugs_table.table(), "run: python -m tests.simulation.bugs_table"
