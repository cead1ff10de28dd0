"""The simulation finds bugs: each of those put in is caught, by the check that is there for it, under the workload that all
seeds share."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

from tests.simulation.mutations import Mutation
from tests.simulation.mutations.all import MUTATIONS
from tests.simulation.run import simulate


@pytest.fixture(scope="module")
def searches(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[int | None]]]:
    """By name, those of the bugs that this session tests: all under way at once, on all processors."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    chosen = [str(test.callspec.params["name"]) for test in tests if test.function is test_the_bug_is_caught]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        yield {name: pool.submit(first_seed, name) for name in chosen}
        pool.shutdown(cancel_futures=True)


def first_seed(name: str) -> int | None:
    """The first seed that catches the bug, within those stated; None where none does."""
    mutation = _named(name)
    with mutation.inject():
        for seed in range(mutation.within_seeds):
            if mutation.caught(simulate(seed).failures):
                return seed
    return None


def _named(name: str) -> Mutation:
    return next(mutation for mutation in MUTATIONS if mutation.name == name)


# Each waits for its turn among all of them.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [mutation.name for mutation in MUTATIONS])
def test_the_bug_is_caught(name: str, searches: dict[str, Future[int | None]]) -> None:
    assert searches[name].result() is not None, f"{name} passed {_named(name).within_seeds} seeds unseen"
