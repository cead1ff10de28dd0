"""The simulation finds bugs: each of those put in is caught, by the check that is there for it, under the workload that all
seeds share."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import Mutation
from tests.simulation.mutations.all import MUTATIONS
from tests.simulation.run import simulate


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_the_bug_is_caught(mutation: Mutation) -> None:
    with mutation.inject():
        for seed in range(mutation.within_seeds):
            if mutation.caught(simulate(seed).failures):
                return
    pytest.fail(f"{mutation} passed {mutation.within_seeds} seeds unseen")
