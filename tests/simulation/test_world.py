"""What the simulated world says of lost volumes: when their records were lost, and whether they may come back."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app import placement
from serve_app.topology import Topology
from tests.simulation import find_bugs
from tests.simulation.loop import new_loop
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
    assert find_bugs.stated() == find_bugs.table(find_bugs.known_seeds()), "run: python -m tests.simulation.find_bugs"
