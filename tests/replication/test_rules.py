"""The rules of two copies hold under every order of events that was tried, and each of them is needed."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.replication.mutations import MUTATIONS, Mutation
from tests.replication.schedules import drawn, known_schedules, replay

_SEEDS = 1500
_SEEDS_A_TEST = 500
#: Within so many steps, with nothing going wrong any more, a write is answered.
_GOES_ON_WITHIN = 3000
_GO_ON_SEEDS = 150


@pytest.mark.parametrize("first", range(0, _SEEDS, _SEEDS_A_TEST))
def test_no_order_of_events_breaks_them(first: int) -> None:
    happened: Counter[str] = Counter()
    for seed in range(first, first + _SEEDS_A_TEST):
        world, schedule = drawn(seed)
        assert not world.problem, f"seed {seed}: {world.problem} after {schedule}"
        happened.update(world.happened)
    rare = (
        "answer",
        "read",
        "hear",
        "decide",
        "join",
        "promote",
        "drop",
        "renew",
        "switch",
        "ask",
        "lose",
        "elsewhere",
    )
    assert [kind for kind in rare if happened[kind] < _SEEDS_A_TEST / 4] == []


def test_writes_go_on_when_nothing_is_wrong_any_more() -> None:
    for seed in range(_GO_ON_SEEDS):
        world, _ = drawn(seed)
        if not _has_a_copy_left(world.chain[-1].entry, {copy.storage.identity for copy in world.copies}):
            continue  # every copy in sync is lost: an operator's case
        before = world.answered
        for _ in range(_GOES_ON_WITHIN):
            if world.answered > before + 3:
                break
            world.step(calm=True)
        assert not world.problem
        assert world.answered > before + 3, f"seed {seed} does not go on"


def _has_a_copy_left(entry, identities) -> bool:  # type: ignore[no-untyped-def]
    return entry.primary in identities or (entry.in_sync and entry.standby in identities)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_without_a_rule_acknowledged_data_is_lost_or_a_stale_read_answered(mutation: Mutation) -> None:
    schedule = known_schedules()[mutation.name]
    with mutation.inject():
        broken, done = replay(schedule)
    assert broken.problem
    assert done == schedule, "every step is needed"
    sound, _ = replay(schedule)
    assert not sound.problem
