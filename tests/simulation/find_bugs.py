"""Which seed catches which put-in bug.

`python -m tests.simulation.find_bugs` looks for all of them in seeds 0, 1, 2, … and writes what it finds to known_seeds.json,
which the tests try first, and to the table in README.md.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.simulation.failures import Failure
from tests.simulation.mutations import Mutation
from tests.simulation.mutations.all import MUTATIONS
from tests.simulation.run import simulate

README = Path(__file__).parent / "README.md"
_KNOWN = Path(__file__).parent / "known_seeds.json"
_TABLE = re.compile(r"(?<=<!-- bugs -->\n).*?(?=\n## )", re.DOTALL)
#: What a function put in place of another one raises, where that has changed since.
_MISFITS = re.compile(r"(TypeError|AttributeError)\(")


class FailsWithoutError(Exception):
    """The seed fails where no bug is put in either, so it says nothing of the bug."""


class DoesNotFitError(Exception):
    """The product has changed since the bug was written: what is put in fails by itself."""


def known_seeds() -> dict[str, int]:
    """By bug, the first seed that caught it when all were looked for last."""
    known: dict[str, int] = json.loads(_KNOWN.read_text())
    return known


def first_seed(name: str, known: int | None = None) -> int | None:
    """The first seed that catches the bug, within those stated; None where none does. known: tried before them, for a run is
    the same every time, until the product changes. Raises DoesNotFitError."""
    mutation = named(name)
    with mutation.inject():
        for seed in ([] if known is None else [known]) + list(range(mutation.within_seeds)):
            failures = simulate(seed, several=mutation.several).failures
            if mutation.caught(failures):
                return seed
            _check_fits(mutation, failures)
    return None


def first_good_seed(name: str) -> int | None:
    """As `first_seed`, by a seed that is fine without the bug. Raises FailsWithoutError."""
    seed = first_seed(name)
    if seed is not None and (failures := simulate(seed, several=named(name).several).failures):
        raise FailsWithoutError(f"seed {seed}: {failures[0]}")
    return seed


def named(name: str) -> Mutation:
    return next(mutation for mutation in MUTATIONS if mutation.name == name)


def _check_fits(mutation: Mutation, failures: list[Failure]) -> None:
    for failure in failures:
        if failure.kind == "surprise" and "surprise" not in mutation.expects and _MISFITS.search(failure.text):
            raise DoesNotFitError(f"{mutation.name}: {failure.text}")


def table(seeds: dict[str, int]) -> str:
    """As README.md has to have it."""
    rows = [
        f"| {mutation.name} | {', '.join(sorted(mutation.expects))} | {seeds.get(mutation.name, '')} |"
        for mutation in MUTATIONS
    ]
    return "\n".join(["", "| bug | caught by | seed |", "| --- | --- | ---: |", *rows, ""])


def stated() -> str:
    """As README.md has it."""
    found = _TABLE.search(README.read_text())
    return "" if found is None else found[0]


def main() -> int:
    found: dict[str, int] = {}
    missed = 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        searches = {pool.submit(first_good_seed, mutation.name): mutation for mutation in MUTATIONS}
        for search in as_completed(searches):
            mutation, seed = searches[search], search.result()
            missed += seed is None
            print(f"{mutation}: {f'not in {mutation.within_seeds} seeds' if seed is None else seed}", flush=True)
            if seed is not None:
                found[mutation.name] = seed
    _KNOWN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    README.write_text(_TABLE.sub(lambda _: table(found), README.read_text()))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
