"""Run as many seeds as wanted, or one of them again: `python -m tests.simulation --help`."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial

from tests.simulation.mutations.all import MUTATIONS
from tests.simulation.run import Report, simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--several", action="store_true", help="with several acceptors, named anew all the time")
    parser.add_argument("--verbose", action="store_true", help="with --seed: print what happens")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to run (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes to run them in")
    parser.add_argument("--mutation", choices=[mutation.name for mutation in MUTATIONS], help="put in this bug")
    options = parser.parse_args()
    with ExitStack() as injected:
        for mutation in MUTATIONS:
            if mutation.name == options.mutation:
                injected.enter_context(mutation.inject())
                options.jobs = 1
                options.several = options.several or mutation.several
        if options.seed is not None:
            report = simulate(options.seed, several=options.several, verbose=options.verbose)
            fine = f"seed {report.seed} is fine; its run is {report.digest}"
            print("\n".join(map(str, report.failures)) or fine)
            return bool(report.failures)
        return run_many(range(options.first, options.first + options.seeds), options.jobs, several=options.several)


def run_many(seeds: range, jobs: int, *, several: bool) -> int:
    """Run the seeds, print each that fails and a summary; 1 where any failed."""
    started_s = time.monotonic()
    run = partial(simulate, several=several)
    if jobs == 1:
        failed, totals = _summarize(several, map(run, seeds))
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            failed, totals = _summarize(several, pool.imap_unordered(run, seeds, chunksize=10))
    seconds = time.monotonic() - started_s
    print(f"{len(seeds):,} runs in {seconds:.0f} s ({len(seeds) / seconds:.0f}/s), {failed} failed")
    for name in sorted(totals):
        print(f"  {name:<30}{totals[name]:>14,.0f}")
    return bool(failed)


def _summarize(several: bool, reports: Iterable[Report]) -> tuple[int, Counter[str]]:
    failed = 0
    totals: Counter[str] = Counter()
    for report in reports:
        totals["histories"] += report.histories
        totals["operations"] += sum(report.operations.values())
        totals["operations overlapping"] += report.overlapping
        totals["simulated seconds"] += round(report.virtual_s)
        totals.update({f"operations {outcome}": count for outcome, count in report.operations.items()})
        totals.update({f"fault: {kind}": count for kind, count in report.faults.items()})
        totals.update(report.events)
        if report.failures:
            failed += 1
            print(f"seed {report.seed} failed: {str(report.failures[0])[:2000]}")
            print(f"  python -m tests.simulation --seed {report.seed}{' --several' if several else ''} --verbose")
            sys.stdout.flush()
    return failed, totals


if __name__ == "__main__":
    sys.exit(main())
