"""The topology's own rules."""

import pytest

from serve_app.topology import Topology, first_topology, newest


def test_the_first_topology_is_stable_at_epoch_1() -> None:
    topology = first_topology(("a", "b", "c"))
    assert (topology.epoch, topology.bucket_count, topology.target_count, topology.phase) == (1, 3, 3, "stable")
    assert first_topology(("a",)).store_id != first_topology(("a",)).store_id


def test_it_lists_a_storage_by_its_identity_and_place() -> None:
    topology = first_topology(("a", "b"))
    assert topology.lists(1, "b")
    assert not topology.lists(0, "b")
    assert not topology.lists(2, "b")


def test_a_topology_between_two_counts_is_moving() -> None:
    assert Topology(2, 2, 3, "s", ("a", "b", "c")).phase == "moving"


@pytest.mark.parametrize(
    ("epoch", "count", "target", "identities"),
    [
        (0, 1, 1, ("a",)),
        (2**53 + 1, 1, 1, ("a",)),
        (1, 0, 1, ("a",)),
        (1, 65, 65, ("a",) * 65),
        (1, 2, 2, ("a",)),
        (1, 1, 2, ("a",)),
    ],
)
def test_nonsense_is_refused(epoch: int, count: int, target: int, identities: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        Topology(epoch, count, target, "s", identities)


def test_the_newest_of_several_is_the_one_of_the_highest_epoch() -> None:
    one, two = Topology(1, 1, 1, "s", ("a",)), Topology(2, 1, 1, "s", ("a",))
    assert newest(one, None, two) is two
    assert newest(None) is None
