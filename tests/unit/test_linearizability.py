"""The checker checked: histories known to be fine, and known not to be."""

from __future__ import annotations

import math
import random

import pytest

from tests.support.linearizability import Event, explainable, violation

INF = math.inf


def put(value: str, called: float, ended: float, *, updated: bool) -> Event:
    return Event("k", "put", value, updated, called, ended)


def lost_put(value: str, called: float) -> Event:
    return Event("k", "put", value, None, called, INF)


def get(found: str | None, called: float, ended: float) -> Event:
    return Event("k", "get", None, found, called, ended)


def delete(found: str | None, called: float, ended: float) -> Event:
    return Event("k", "delete", None, found, called, ended)


@pytest.mark.parametrize(
    "events",
    [
        [get(None, 0, 1)],
        [put("a", 0, 1, updated=False), get("a", 2, 3)],
        [put("a", 0, 5, updated=False), get("a", 1, 2), get("a", 3, 4)],
        [put("a", 0, 5, updated=False), get(None, 1, 2), get("a", 3, 4)],
        [put("a", 0, 9, updated=False), put("b", 0, 9, updated=True), get("a", 1, 2), get("b", 3, 4)],
        [put("a", 0, 1, updated=False), delete("a", 2, 3), get(None, 4, 5), delete(None, 6, 7)],
        [lost_put("a", 0), get(None, 1, 2), get("a", 3, 4)],
        [lost_put("a", 0), get(None, 1, 2), get(None, 3, 4)],
        [put("a", 0, 1, updated=False), Event("k", "delete", None, None, 2, INF), get("a", 3, 4), get(None, 5, 6)],
    ],
)
def test_histories_that_can_be(events: list[Event]) -> None:
    assert explainable(events)


@pytest.mark.parametrize(
    "events",
    [
        [put("a", 0, 1, updated=False), get(None, 2, 3)],  # lost
        [put("a", 0, 1, updated=True)],  # updated what was not there
        [put("a", 0, 1, updated=False), put("b", 2, 3, updated=True), get("a", 4, 5)],  # stale
        [put("a", 0, 9, updated=False), get("a", 1, 2), get(None, 3, 4)],  # seen, then not
        [put("a", 0, 1, updated=False), delete("a", 2, 3), get("a", 4, 5)],  # resurrected
        [put("a", 0, 1, updated=False), delete("a", 2, 3), delete("a", 4, 5)],  # deleted twice
        [get("a", 0, 1), lost_put("a", 2)],  # from the future
        [lost_put("a", 0), get("a", 1, 2), get(None, 3, 4)],  # happened, and then not
        [put("a", 0, 1, updated=False), put("b", 0, 1, updated=False)],  # both created
        [put("a", 0, 1, updated=False), delete(None, 2, 3)],  # an acknowledged put was not there
    ],
)
def test_histories_that_can_not_be(events: list[Event]) -> None:
    assert not explainable(events)
    assert violation(events) is not None


def test_keys_are_checked_apart() -> None:
    other = [Event("other", "get", None, "ghost", 0, 1)]
    assert "other" in (violation([put("a", 0, 1, updated=False), *other]) or "")


def test_a_real_registers_history_with_much_overlap_is_explained() -> None:
    """Operations on a real dict at random instants, called earlier and answered later: always explainable."""
    for seed in range(50):
        rng = random.Random(seed)
        state: str | None = None
        events = []
        for number in range(60):
            at = float(number)
            called, ended = at - rng.uniform(0, 8), at + rng.uniform(0, 8)
            kind = rng.choice(["get", "put", "delete"])
            if kind == "put":
                events.append(put(f"v{number}", called, ended, updated=state is not None))
                state = f"v{number}"
            elif kind == "delete":
                events.append(delete(state, called, ended))
                state = None
            else:
                events.append(get(state, called, ended))
        assert violation(events) is None, f"seed {seed}"


def test_one_wrong_answer_in_such_a_history_is_found() -> None:
    found = 0
    for seed in range(50):
        rng = random.Random(seed)
        events = [put("v0", 0, 0.5, updated=False)]
        for number in range(1, 40):
            events.append(put(f"v{number}", number - rng.uniform(0, 2), number + rng.uniform(0, 2), updated=True))
        events.append(get("v5", 45, 46))
        found += violation(events) is not None
    assert found == 50
