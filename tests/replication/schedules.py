"""Runs of two copies: drawn from a seed, or told step by step; and the shortest way to what a seed has shown.

    python -m tests.replication.schedules 20000                          # seeds, without a bug
    python -m tests.replication.schedules 20000 "reads do not wait"      # with one put in: the shortest way to what it does

`known_schedules.json` has such a way for each bug.
"""

from __future__ import annotations

import json
import random
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from tests.replication.world import World

STEPS = 300
_KNOWN = Path(__file__).parent / "known_schedules.json"


class Schedule(NamedTuple):
    """alone: whether the primary begins alone. rates: of the two clocks. steps: as `World.do` takes them."""

    alone: bool
    rates: tuple[float, float]
    steps: tuple[str, ...]


def known_schedules() -> dict[str, Schedule]:
    """By bug, a way to what it does."""
    return {
        name: Schedule(kept["alone"], tuple(kept["rates"]), tuple(kept["steps"]))
        for name, kept in json.loads(_KNOWN.read_text()).items()
    }


def drawn(seed: int, steps: int = STEPS) -> tuple[World, Schedule]:
    """A run from a seed, until its end or a problem, and what was done in it."""
    alone = seed % 5 == 0
    world = World(random.Random(seed), alone=alone)
    done = []
    for _ in range(steps):
        done.append(world.step().replace("pause", "time"))
        if world.problem:
            break
    rate_a, rate_b = (copy.rate for copy in world.copies)
    return world, Schedule(alone, (rate_a, rate_b), tuple(done))


def replay(schedule: Schedule) -> tuple[World, Schedule]:
    """A run as it is told, and what could be done of it: other steps are left out. It ends with the first problem."""
    world = World(random.Random(0), alone=schedule.alone, rates=schedule.rates)
    done = []
    for step in schedule.steps:
        if world.do(step):
            done.append(step)
        if world.problem:
            break
    return world, schedule._replace(steps=tuple(done))


def shortest(schedule: Schedule) -> Schedule:
    """With fewer steps to a problem: as few as leaving out some of them, over and over, leads to."""
    before = None
    while schedule != before:
        before = schedule
        for size in (64, 32, 16, 8, 4, 3, 2, 1):
            for start in range(len(schedule.steps) - size, -1, -1):
                world, fewer = replay(schedule._replace(steps=schedule.steps[:start] + schedule.steps[start + size :]))
                if world.problem:
                    schedule = fewer
    return schedule


def main(seeds: int, bug: str = "") -> int:
    """Run seeds until one shows a problem; print the shortest way to it."""
    from tests.replication.mutations import MUTATIONS

    chosen = next((mutation for mutation in MUTATIONS if mutation.name == bug), None)
    with chosen.inject() if chosen is not None else nullcontext():
        for seed in range(seeds):
            world, schedule = drawn(seed)
            if world.problem:
                found = shortest(schedule)
                print(f"seed {seed}: {replay(found)[0].problem}", *found.steps, sep="\n  ")
                return 1
    print(f"{seeds} seeds show nothing")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:3]))
