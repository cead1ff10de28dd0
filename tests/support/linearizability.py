"""A checker of histories: could these operations, each at one instant between call and answer, have given these answers?

The search is Wing and Gong's (1993) with Lowe's memory of visited states (2017), the one behind Knossos and Porcupine. Keys
are independent, so each is checked alone (linearizability is local: Herlihy and Wing, 1990), and each is a register that can
be missing. An operation of unknown fate may have happened at any instant after its call, or never.

It knows nothing of the store: only the answers' meaning.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

MISSING = None
Kind = Literal["get", "head", "put", "delete"]
#: They change nothing.
READS = frozenset({"get", "head"})


@dataclass(frozen=True)
class Event:
    """One operation as its client saw it.

    value: what was put. found: what a get or delete answered (None: missing), for a put whether it said "updated", for a head
    how many characters it said that the value has (None: missing).
    ended_s is infinite where the outcome is unknown; refused operations are left out of a history.
    """

    key: str
    kind: Kind
    value: str | None
    found: str | int | None
    called_s: float
    ended_s: float

    @property
    def unknown(self) -> bool:
        return math.isinf(self.ended_s)


def step(state: str | None, event: Event) -> tuple[bool, str | None]:
    """Whether the event fits the register's state, and the state after it."""
    if event.kind == "put":
        return event.unknown or event.found == (state is not None), event.value
    if event.kind == "delete":
        return event.unknown or event.found == state, None
    if event.kind == "head":
        return event.found == (None if state is None else len(state)), state
    return event.found == state, state


def violation(history: Iterable[Event]) -> str | None:
    """The first key whose events have no explanation, with them, or None where all have one."""
    by_key: dict[str, list[Event]] = defaultdict(list)
    for event in history:
        if not (event.unknown and event.kind in READS):  # a read nobody saw the answer of says nothing
            by_key[event.key].append(event)
    for key, events in by_key.items():
        if not explainable(events):
            shown = "\n".join(map(str, sorted(events, key=lambda event: event.called_s)))
            return f"no order explains what clients saw of key {key!r}:\n{shown}"
    return None


def explainable(events: list[Event]) -> bool:
    """Whether one key's events can be put in order. The register starts missing.

    Depth-first over states (known events done, unknown events done, the register); one seen before is not tried again. The
    known events done are kept as "all before `base`, and these few behind it", so the cost grows with how many overlap and
    not with the length of the history.
    """
    known = sorted((event for event in events if not event.unknown), key=lambda event: event.called_s)
    unknown = sorted((event for event in events if event.unknown), key=lambda event: event.called_s)
    start: _State = (0, 0, 0, MISSING)
    seen = {start}
    stack = [start]
    while stack:
        base, done, used, value = stack.pop()
        if base == len(known):
            return True
        # Whoever is next must have been called before any known event that is not done ended.
        first_end_s = math.inf
        candidates = []
        for index in range(base, len(known)):
            if known[index].called_s > first_end_s:
                break
            if not done >> (index - base) & 1:
                first_end_s = min(first_end_s, known[index].ended_s)
                candidates.append(index)
        nexts: list[_State] = []
        for index, event in enumerate(unknown):
            if not used >> index & 1 and event.called_s <= first_end_s:
                nexts.append((base, done, used | 1 << index, step(value, event)[1]))
        for index in reversed(candidates):
            fits, after = step(value, known[index])
            if fits and known[index].called_s <= first_end_s:
                nexts.append((*_advance(base, done | 1 << (index - base)), used, after))
        for state in nexts:
            if state not in seen:
                seen.add(state)
                stack.append(state)
    return False


_State = tuple[int, int, int, str | None]


def _advance(base: int, done: int) -> tuple[int, int]:
    """Drop the leading done events into the base."""
    while done & 1:
        base, done = base + 1, done >> 1
    return base, done
