"""The store under simulation: some hundreds of seeds in each test run, and the simulation's promise to repeat itself.

`make simulate SEEDS=n` runs as many as wanted; `python -m tests.simulation --seed N --verbose` shows one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.plan import FAULTS
from tests.simulation.run import Report, simulate

_SEEDS = 200
_SEEDS_A_TEST = 50
_SEVERAL_SEEDS = 60
_SEVERAL_SEEDS_A_TEST = 30
_REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    """One for each seed that was run here, in the order of the tests."""
    return []


@pytest.mark.parametrize("first", range(0, _SEEDS, _SEEDS_A_TEST))
def test_no_seed_finds_anything(first: int, reports: list[Report]) -> None:
    overlapping = succeeded = moves = windows = 0
    for seed in range(first, first + _SEEDS_A_TEST):
        report = simulate(seed)
        reports.append(report)
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


@pytest.mark.parametrize("first", range(0, _SEVERAL_SEEDS, _SEVERAL_SEEDS_A_TEST))
def test_no_seed_with_several_acceptors_finds_anything(first: int) -> None:
    happened: Counter[str] = Counter()
    for seed in range(first, first + _SEVERAL_SEEDS_A_TEST):
        report = simulate(seed, several=True)
        assert not report.failures, (
            f"seed {seed} failed; see it with: python -m tests.simulation --several --seed {seed} --verbose\n"
            + "\n".join(map(str, report.failures))
        )
        happened += report.events
        happened["operations"] += report.operations["ok"]
    assert happened["acceptors named"] > 5 * _SEVERAL_SEEDS_A_TEST, "little was decided by several"
    assert happened["proposals without success"] > 5 * _SEVERAL_SEEDS_A_TEST, "proposers hardly met"
    assert happened["acceptors crashed"] > _SEVERAL_SEEDS_A_TEST
    assert happened["proposers crashed"] > 0
    assert happened["moves ended"] > _SEVERAL_SEEDS_A_TEST
    assert happened["operations"] > 70 * _SEVERAL_SEEDS_A_TEST


def test_every_kind_of_fault_happened_in_these_seeds(reports: list[Report]) -> None:
    """As counted when it happened, not as planned."""
    if len(reports) < _SEEDS:
        pytest.skip("not all seeds were run")
    happened = sum((report.faults + report.events for report in reports), Counter[str]())
    assert [kind for kind in FAULTS if not happened[kind]] == []
    in_moves = ("disk-full", "disk-fails", "read-error", "power-cut", "crash-bucket", "accept-loss")
    assert [kind for kind in in_moves if not happened[f"{kind} while moving"]] == []
    assert happened["old volumes back"] > 0
    assert happened["verifications while moving"] > 0
    losing = sum(report.faults["accept-loss"] > 0 for report in reports)
    assert _SEEDS / 12 < losing < _SEEDS / 4, "a run that gives up records proves less of the others"


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
