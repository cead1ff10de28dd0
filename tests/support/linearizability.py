"""A checker of histories: could these operations, each at one instant between call and answer, have given these answers?

The search is Wing and Gong's (1993) with Lowe's memory of visited states (2017), the one behind Knossos and Porcupine. Keys
are independent, so each is checked alone (linearizability is local: Herlihy and Wing, 1990), and each is a register that can
be missing. An operation of unknown fate may have happened at any instant after its call, or never. A record that was given a
time to expire may vanish at any instant after that.

It knows nothing of the store: only the answers' meaning.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["get", "head", "put", "delete", "touch", "increment", "append", "swap", "batch"]
#: They change nothing.
READS = frozenset({"get", "head"})
#: Among conditions: any record at all.
ANY = -1
#: What an operation answers whose condition is not met: nothing was changed, or a reader has the record already.
NOT_MET = "(not met)"
#: What a put answers that does not say whether there was a record.
NOT_TOLD = "(not told)"


class Live(NamedTuple):
    """A record. revision: 0 where nobody has been told of it. mortal: whether it may vanish by itself."""

    value: str
    revision: int = 0
    mortal: bool = False


#: A register: a record, or that there is none.
State = Live | None
MISSING: State = None


@dataclass(frozen=True)
class Event:
    """One operation as its client saw it.

    value: what was put; of an increment, what was added; of an append, what was written behind. found: what a get or delete
    answered (None: missing; True: a record, whose value was not asked for), and a swap of what there was before; for a put
    whether it said "updated" (`NOT_TOLD`: neither), for a head how many characters it said that the value has (None:
    missing), for a touch if there was a record, for an increment the number, for an append how many characters there are
    then; `NOT_MET` where that was the answer. ended_s is infinite where the outcome is unknown; refused operations are left
    out of a history.

    revision: what the answer said, 0 where it said none. if_match, if_none_match: the revision of the condition, or `ANY`; 0
    where there is none. mortal: whether what it leaves may vanish. parts: of a batch, what it did to the key, in order and at
    one instant.
    """

    key: str
    kind: Kind
    value: str | None
    found: str | int | None
    called_s: float
    ended_s: float
    revision: int = 0
    if_match: int = 0
    if_none_match: int = 0
    mortal: bool = False
    parts: tuple[Event, ...] = ()

    @property
    def unknown(self) -> bool:
        return math.isinf(self.ended_s)


def step(state: State, event: Event) -> tuple[bool, State]:
    """Whether the event fits the register's state, and the state after it."""
    if event.kind == "batch":
        for part in event.parts:
            fits, state = step(state, part)
            if not fits:
                return False, state
        return True, state
    if state is None:
        return _step_on_nothing(event)
    if event.if_match or event.if_none_match:
        if event.unknown:
            return (True, _changed(state, event)) if _may_be_met(state, event) else (True, state)
        if event.found == NOT_MET:
            return _step_not_met(state, event)
        if not _may_be_met(state, event):
            return False, state
    if event.unknown:
        return True, _changed(state, event)
    if event.kind in READS:
        told = len(state.value) if event.kind == "head" else state.value
        fits = event.found == told and (not state.revision or not event.revision or state.revision == event.revision)
        return fits, state if state.revision or not fits else state._replace(revision=event.revision)
    after = _changed(state, event)
    if event.kind in ("delete", "swap"):
        return event.found is True or event.found == state.value, after
    if event.kind == "append":
        return after is not None and event.found == len(after.value), after
    if event.kind == "increment":
        return after is not None and str(event.found) == after.value, after
    return event.found is True or event.found == NOT_TOLD, after


def _step_on_nothing(event: Event) -> tuple[bool, State]:
    creates = event.kind in ("put", "increment", "append", "swap")
    if creates and event.if_match:
        return event.unknown or (event.found == NOT_MET and not event.revision), None
    if not creates:
        return event.unknown or event.found == (False if event.kind == "touch" else None), None
    value = str(event.value)
    told: dict[Kind, str | int | None] = {"put": False, "swap": None, "append": len(value)}
    found = told[event.kind] if event.kind in told else int(value)
    fits = event.found is found if event.kind in ("put", "swap") else event.found == found
    fits = fits or (event.kind == "put" and event.found == NOT_TOLD)
    return event.unknown or fits, Live(value, event.revision, event.mortal)


def _step_not_met(state: Live, event: Event) -> tuple[bool, State]:
    """It says which revision there is."""
    if not event.revision or (state.revision and state.revision != event.revision):
        return False, state
    known = state._replace(revision=event.revision)
    return not _may_be_met(known, event), known


def _may_be_met(state: Live, event: Event) -> bool:
    """Whether the record may be as the condition wants it: what is not known may be anything."""
    if event.if_match and event.if_match != ANY and state.revision and state.revision != event.if_match:
        return False
    return event.if_none_match != ANY and (not event.if_none_match or state.revision != event.if_none_match)


def _changed(state: Live, event: Event) -> State:
    """What an event leaves of a record, where it happens."""
    if event.kind == "delete":
        return None
    if event.kind == "touch":
        return Live(state.value, event.revision, event.mortal)
    if event.kind == "increment":
        return Live(str(int(state.value) + int(str(event.value))), event.revision, state.mortal)
    if event.kind == "append":
        return Live(state.value + str(event.value), event.revision, state.mortal)
    return Live(str(event.value), event.revision, event.mortal)


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
    start: _Search = (0, 0, 0, MISSING)
    seen = {start}
    stack = [start]
    while stack:
        base, done, used, state = stack.pop()
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
        nexts: list[_Search] = []
        if state is not None and state.mortal:
            nexts.append((base, done, used, None))
        for index, event in enumerate(unknown):
            if not used >> index & 1 and event.called_s <= first_end_s:
                nexts.append((base, done, used | 1 << index, step(state, event)[1]))
        for index in reversed(candidates):
            fits, after = step(state, known[index])
            if fits and known[index].called_s <= first_end_s:
                nexts.append((*_advance(base, done | 1 << (index - base)), used, after))
        for found in nexts:
            if found not in seen:
                seen.add(found)
                stack.append(found)
    return False


_Search = tuple[int, int, int, State]


def _advance(base: int, done: int) -> tuple[int, int]:
    """Drop the leading done events into the base."""
    while done & 1:
        base, done = base + 1, done >> 1
    return base, done
