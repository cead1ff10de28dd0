"""The store under simulation: some hundreds of seeds in each test run, and the simulation's promise to repeat itself.

`make simulate SEEDS=n` runs as many as wanted; `python -m tests.simulation --seed N --verbose` shows one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.run import simulate

_SEEDS = 200
_SEEDS_A_TEST = 50
_REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, _SEEDS, _SEEDS_A_TEST))
def test_no_seed_finds_anything(first: int) -> None:
    overlapping = succeeded = moves = windows = 0
    for seed in range(first, first + _SEEDS_A_TEST):
        report = simulate(seed)
        assert not report.failures, (
            f"seed {seed} failed; see it with: python -m tests.simulation --seed {seed} --verbose\n"
            + "\n".join(map(str, report.failures))
        )
        overlapping += report.overlapping
        succeeded += report.operations["ok"]
        moves += report.events["moves ended"]
        windows += report.events["windows moved"]
    assert overlapping > 0.3 * succeeded, "operations hardly overlapped, so the histories prove little"
    assert succeeded > 70 * _SEEDS_A_TEST, "most operations failed, so the histories prove little"
    assert moves > 2 * _SEEDS_A_TEST, "keys hardly moved, so little is known of moves"
    assert windows > 10 * _SEEDS_A_TEST, "keys moved in few steps, so little is known of what goes on between them"


def test_a_seed_runs_the_same_again() -> None:
    """In other processes too, whose hashes of strings and addresses of objects differ."""
    program = "from tests.simulation.run import simulate; print([simulate(seed).digest for seed in range(8)])"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=_REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    digests.add(f"{[simulate(seed).digest for seed in range(8)]}\n")
    assert len(digests) == 1


def test_seeds_differ() -> None:
    assert len({simulate(seed).digest for seed in range(8)}) == 8
