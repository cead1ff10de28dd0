"""Bugs put into the product on purpose, one at a time, to show that the simulation finds them.

Each replaces a function of the product while a `with` lasts; the product itself has no switches for them. They run under the
same workload and faults as everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.simulation.failures import Failure

FACTS = frozenset({"facts"})
HISTORY, REVISIONS, DISKS = frozenset({"history"}), frozenset({"revisions"}), frozenset({"disks"})
VOLUMES, HELD, ANSWERS, WHOLE = (frozenset({kind}) for kind in ("volumes", "held", "answers", "whole"))
SERVED, VERIFY, EPOCHS = frozenset({"served"}), frozenset({"verify"}), frozenset({"epochs"})
AVAILABLE, COMMITS, VOTES = (frozenset({kind}) for kind in ("available", "commits", "votes"))

EXPIRED, DUE, OUTCOMES, REPEATS = (frozenset({kind}) for kind in ("expired", "due", "outcomes", "repeats"))
LISTS, WATCHES, FEED = (frozenset({kind}) for kind in ("lists", "watches", "feed"))


@dataclass(frozen=True)
class Mutation:
    """One bug.

    within_seeds: of seeds 0, 1, 2, …, one of the first this many must catch it; four or five times as many as it took on
        average, the first three times, when this was written, and at least ten.
    expects: the kinds of failures (failures.py) that catch it. several: whether it shows in runs with several acceptors.
    """

    name: str
    within_seeds: int
    expects: frozenset[str]
    inject: Callable[[], AbstractContextManager[object]]
    several: bool = False

    def caught(self, failures: Iterable[Failure]) -> bool:
        """Whether these are what the bug does to a store, and not what it does to the simulation: where the product is
        surprised too, the bug may have been seen for no other reason."""
        kinds = {failure.kind for failure in failures}
        return bool(kinds & self.expects) and ("surprise" not in kinds or "surprise" in self.expects)

    def __str__(self) -> str:
        return self.name
