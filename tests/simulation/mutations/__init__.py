"""Bugs put into the product on purpose, one at a time, to show that the simulation finds them.

Each replaces a function of the product while a `with` lasts; the product itself has no switches for them. They run under the
same workload and faults as everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One bug. within_seeds: of seeds 0, 1, 2, …, one of the first so many must catch it."""

    name: str
    within_seeds: int
    inject: Callable[[], AbstractContextManager[object]]

    def __str__(self) -> str:
        return self.name
