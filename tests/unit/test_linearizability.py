"""The checker checked: histories known to be fine, and known not to be."""

from __future__ import annotations

import math
import random

import pytest

from tests.support.linearizability import ANY, NOT_MET, Event, Kind, explainable, violation

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


# -- revisions, conditions, expiry, counters and batches -----------------------------------------------------------------


def event(
    kind: Kind, value: str | None, found: str | int | None, at: float, revision: int = 0, **more: object
) -> Event:
    """One that was answered before the next second."""
    return Event("k", kind, value, found, at, at + 0.5, revision, **more)  # type: ignore[arg-type]


def lost(kind: Kind, value: str | None, at: float, **more: object) -> Event:
    return Event("k", kind, value, None, at, INF, **more)  # type: ignore[arg-type]


A = event("put", "a", False, 0, 5)
MORTAL = event("put", "a", False, 0, 5, mortal=True)


@pytest.mark.parametrize(
    "events",
    [
        # a condition that is met, and one that is not
        [A, event("put", "b", True, 1, 6, if_match=5), event("get", None, "b", 2, 6)],
        [A, event("put", "b", NOT_MET, 1, 5, if_match=4), event("get", None, "a", 2, 5)],
        [A, event("put", "b", NOT_MET, 1, 5, if_none_match=ANY)],
        [event("put", "b", NOT_MET, 0, 0, if_match=4), event("put", "b", False, 1, 5, if_none_match=ANY)],
        [A, event("delete", None, "a", 1, 6, if_match=5), event("delete", None, None, 2, if_match=5)],
        [A, event("get", None, NOT_MET, 1, 5, if_none_match=5), event("get", None, "a", 2, 5, if_none_match=4)],
        [event("get", None, None, 0, if_none_match=4)],
        [A, event("put", "b", True, 1, 6, if_match=ANY)],
        # of two with the same condition one is met
        [A, Event("k", "put", "b", True, 1, 9, 6, 5), Event("k", "put", "c", NOT_MET, 1, 9, 6, 5)],
        # one of unknown fate that may have been met, or may not
        [A, lost("put", "b", 1, if_match=5), event("get", None, "b", 2, 6)],
        [A, lost("put", "b", 1, if_match=5), event("get", None, "a", 2, 5)],
        [A, lost("delete", None, 1, if_match=5), event("get", None, None, 2)],
        # a revision that nobody was told of is learned from the next answer
        [lost_put("a", 0), event("get", None, "a", 1, 5), event("put", "b", True, 2, 6, if_match=5)],
        # what may expire does at any instant, or not
        [MORTAL, event("get", None, "a", 1, 5), event("get", None, None, 2)],
        [MORTAL, event("get", None, "a", 1, 5), event("put", "b", False, 2, 6)],
        [MORTAL, event("touch", None, True, 1, 6), event("get", None, "a", 2, 6)],
        [A, event("touch", None, True, 1, 6, mortal=True), event("get", None, None, 2), event("touch", None, False, 3)],
        [MORTAL, event("get", None, None, 1), event("put", "b", False, 2, 6), event("get", None, "b", 3, 6)],
        # counters
        [event("increment", "2", 2, 0, 5), event("increment", "-3", -1, 1, 6), event("get", None, "-1", 2, 6)],
        [event("increment", "2", 2, 0, 5), lost("increment", "1", 1), event("increment", "1", 4, 2, 7)],
        [event("increment", "2", 2, 0, 5, mortal=True), event("increment", "1", 1, 1, 6)],
        # a batch at one instant
        [A, event("batch", None, None, 1, parts=(event("delete", None, "a", 1, 6), event("put", "b", False, 1, 7)))],
    ],
)
def test_histories_of_records_with_revisions_that_can_be(events: list[Event]) -> None:
    assert explainable(events)


@pytest.mark.parametrize(
    "events",
    [
        [A, event("put", "b", True, 1, 6, if_match=4)],  # carried out, and the condition was not met
        [A, event("put", "b", False, 1, 6, if_none_match=ANY)],  # created where there was one
        [A, event("put", "b", NOT_MET, 1, 5, if_match=5)],  # refused, and it was met
        [A, event("put", "b", NOT_MET, 1, 4, if_match=3)],  # refused by a revision that was not there
        [A, event("delete", None, None, 1, if_match=4)],  # missing, where there was one
        [A, event("get", None, NOT_MET, 1, 4, if_none_match=4)],  # unchanged, where it had changed
        [A, event("get", None, "a", 1, 6)],  # another revision
        [A, Event("k", "put", "b", True, 1, 9, 6, 5), Event("k", "put", "c", True, 1, 9, 7, 5)],  # both were met
        [
            A,
            event("put", "b", True, 1, 6),
            lost("put", "c", 2, if_match=5),
            event("get", None, "c", 3, 7),
        ],  # not met any more
        [A, event("get", None, None, 1)],  # vanished, and was not to
        [MORTAL, event("get", None, None, 1), event("get", None, "a", 2, 5)],  # shown again
        [MORTAL, event("touch", None, True, 1, 6), event("get", None, None, 2)],  # vanished, and was not to any more
        [MORTAL, event("get", None, None, 1), event("touch", None, True, 2, 6)],  # touched what had gone
        [event("increment", "1", 1, 0, 5), event("increment", "1", 1, 1, 6)],  # counted once
        [
            event("increment", "1", 1, 0, 5),
            lost("increment", "1", 1),
            event("increment", "1", 4, 2, 7),
        ],  # counted twice
        [Event("k", "increment", "1", 1, 0, 9, 5), Event("k", "increment", "1", 1, 0, 9, 6)],  # did not see each other
        [
            A,
            event("batch", None, None, 1, parts=(event("put", "b", True, 1, 6), event("get", None, "a", 1, 5))),
        ],  # out of order
    ],
)
def test_histories_of_records_with_revisions_that_can_not_be(events: list[Event]) -> None:
    assert not explainable(events)
