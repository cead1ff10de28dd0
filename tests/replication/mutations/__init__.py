"""Bugs put into the rules, one at a time: what the design marks with `!`, and more. `docs/replication.md` names the rules."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.replication.mutations import joining, serving, taking_over


@dataclass(frozen=True)
class Mutation:
    """One bug. `known_schedules.json` has a way to what it does."""

    name: str
    inject: Callable[[], AbstractContextManager[object]]

    def __str__(self) -> str:
        return self.name


MUTATIONS = [Mutation(bug.__name__.replace("_", " "), bug) for bug in (*serving.BUGS, *taking_over.BUGS, *joining.BUGS)]
