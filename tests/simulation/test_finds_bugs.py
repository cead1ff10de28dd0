"""The simulation finds bugs: each of those put in is caught, by the check that is there for it, under the workload that all
seeds share."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from unittest.mock import patch

import pytest

from serve_app.bucket.reader import Reader
from tests.simulation import find_bugs
from tests.simulation.failures import Failure
from tests.simulation.find_bugs import (
    DoesNotFitError,
    FailsWithoutError,
    first_good_seed,
    first_seed,
    known_seeds,
    named,
)
from tests.simulation.mutations import HISTORY, Mutation
from tests.simulation.mutations.all import MUTATIONS
from tests.simulation.run import Report


@pytest.fixture(scope="module")
def searches(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[int | None]]]:
    """By name, those of the bugs that this session tests: all under way at once, on all processors."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    chosen = [str(test.callspec.params["name"]) for test in tests if test.function is test_the_bug_is_caught]
    known = known_seeds()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        yield {name: pool.submit(first_seed, name, known.get(name)) for name in chosen}
        pool.shutdown(cancel_futures=True)


# Each waits for its turn among all of them; where the product has changed, some have to be looked for anew.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [mutation.name for mutation in MUTATIONS])
def test_the_bug_is_caught(name: str, searches: dict[str, Future[int | None]]) -> None:
    assert searches[name].result() is not None, f"{name} passed {named(name).within_seeds} seeds unseen"


def test_a_bug_that_does_not_fit_the_product_any_more_is_told_from_one_that_is_not_caught() -> None:
    def inject() -> AbstractContextManager[object]:
        return patch.object(Reader, "_answer", lambda self, operation: None)  # it takes the record, too

    old = Mutation("of an earlier time", 2, HISTORY, inject)
    with patch.object(find_bugs, "MUTATIONS", [old]), pytest.raises(DoesNotFitError, match="TypeError"):
        first_seed(old.name)


def test_a_seed_that_fails_without_the_bug_is_no_find() -> None:
    """Such a seed would be called the first to catch each of them."""
    fails = Report(seed=0, failures=[Failure("history", "always")])
    with (
        patch.object(find_bugs, "simulate", lambda seed, several: fails),
        pytest.raises(FailsWithoutError, match="seed 0"),
    ):
        first_good_seed(MUTATIONS[0].name)
