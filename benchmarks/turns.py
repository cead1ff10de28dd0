"""What little differences are: `python -m benchmarks.turns` measures the empty handler, the first API, `/v1` and tokens for a
second each, in turns and many times, so that a machine whose speed changes does so to all of them.

Prints medians of the ratios of each round, with their quartiles.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks import alone, wrk
from benchmarks.filling import fill, settle
from benchmarks.many import CONNECTIONS
from benchmarks.rounds import VALUE_BYTES
from benchmarks.stage import Stage
from benchmarks.systems import EMPTY, STORE, TOKENS, V1

_SYSTEMS = [EMPTY, STORE, V1, TOKENS]
_RATIOS = ((STORE, EMPTY), (V1, STORE), (TOKENS, V1))
_KEYS = 1000


def main() -> None:
    options = alone.arguments("turns", __doc__, rounds=16).parse_args()
    with alone.stage_folder("turns", options.data_dir) as folder:
        measure(folder, options.rounds)


def measure(folder: Path, rounds: int) -> None:
    """Raises BenchmarkFailed: something did not succeed."""
    with Stage(folder, _SYSTEMS, bucket_count=2) as stage:
        fill(stage, 0, _KEYS, VALUE_BYTES)
        settle(stage)
        for kind in ("GET", "PUT"):
            load = wrk.Load(kind, CONNECTIONS, _KEYS, VALUE_BYTES)
            found: dict[str, list[float]] = {system.name: [] for system in _SYSTEMS}
            for number in range(rounds):
                first = number % len(_SYSTEMS)
                for system in _SYSTEMS[first:] + _SYSTEMS[:first]:
                    run = wrk.run(stage.target(system), load, seconds=1, seed=number, folder=stage.folder)
                    found[system.name].append(run.requests_per_s)
            for one, other in _RATIOS:
                ratios = [a / b for a, b in zip(found[one.name], found[other.name], strict=True)]
                low, middle, high = statistics.quantiles(ratios, n=4)
                print(f"{kind:<4}{one.title}, of {other.title}: {middle:.2f} ({low:.2f} - {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
