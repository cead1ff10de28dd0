"""Threads of a simulated machine, of which one runs at a time, and only for as long as the simulation lets it.

The product's own code stands still in its middle then, with whatever it knew before, while the clock goes on. They are
greenlets: stacks of their own, which nobody but the simulation switches.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]  # comes with playwright


class SteppedThread:
    """Does some work, one step after the other. The work belongs to the process that made it."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._stack = greenlet(work)
        self._stack.gr_context = copy_context()

    @property
    def ended(self) -> bool:
        return bool(self._stack.dead)

    def step(self) -> None:
        """Let it run until it stands still, or ends. What it raises is raised here."""
        self._stack.parent = getcurrent()
        self._stack.switch()

    def stand_still(self) -> None:
        """Called by the work: wait for the next step."""
        parent = self._stack.parent
        assert parent is not None, "whoever steps it is its parent"
        parent.switch()

    def abandon(self) -> None:
        """End it wherever it stands."""
        if not self.ended:
            self._stack.parent = getcurrent()
            self._stack.throw(GreenletExit)
