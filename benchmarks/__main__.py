"""`python -m benchmarks`: measures, prints, and writes down."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import bars, clients, machine, many, moving, one_bucket, options, redis_protocol, report, rounds, wrk
from benchmarks.failure import BenchmarkFailed
from benchmarks.figures import Samples
from benchmarks.filling import fill, settle
from benchmarks.memory import Resident, residents
from benchmarks.options import SMALL_KEYS, Options
from benchmarks.processes import stop_signals_raise, uninterrupted
from benchmarks.report import Results
from benchmarks.stage import Stage
from benchmarks.systems import OBVIOUS, System, why_not

_BUCKET_COUNT = 2
# The large bucket's values of 1 KB, replaced once, with what compaction leaves lying around for a while.
_FREE_BYTES_PER_KEY = 6_000
_FREE_BYTES = 2_000_000_000
_BUSY_LOAD = 0.5


def main() -> int:
    """The exit status: 0 when all was measured, whether or not a bar is met."""
    stop_signals_raise()
    try:
        wanted = options.parse()
        wrk.require_wrk()
        wanted.data_dir.mkdir(parents=True, exist_ok=True)
        machine.require_disk(wanted.data_dir, _FREE_BYTES + _FREE_BYTES_PER_KEY * wanted.large_keys)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=wanted.data_dir))
        try:
            results = _measure(wanted, folder)
        except Exception:
            _keep_logs(folder, wanted.output.parent / "bench-logs")
            raise
        finally:
            with uninterrupted():
                shutil.rmtree(folder, ignore_errors=True)
        _write(results, wanted)
    except (BenchmarkFailed, OSError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing was written.", file=sys.stderr)
        return 130
    return 0


def _measure(wanted: Options, folder: Path) -> Results:
    described = machine.describe(folder)
    notes = [note for system in wanted.systems if (note := why_not(system))]
    systems = [system for system in wanted.systems if not why_not(system)]
    samples = Samples()
    memory: dict[int, list[Resident]] = {}
    _say(f"{described.file_system}, {described.fdatasync_per_s:,.0f} fdatasync/s, load {described.load_before:.2f}")
    if described.load_before > _BUSY_LOAD:
        _say("warning: something else is running on this machine; the figures will be worse and further apart")
    for note in notes:
        _say(note)
    with Stage(folder / "small", systems, _BUCKET_COUNT) as stage:
        _say("all systems answer")
        held = _rounds_at(SMALL_KEYS, 0, stage, systems, wanted, samples, memory)
        if wanted.large_keys > SMALL_KEYS:
            if OBVIOUS in systems:
                notes.append(
                    f"{OBVIOUS.title} is not measured at {wanted.large_keys:,} keys: each write rewrites its whole file"
                )
                systems = stage.systems = [system for system in systems if system is not OBVIOUS]
            _rounds_at(wanted.large_keys, held, stage, systems, wanted, samples, memory)
    buckets = []
    if wanted.large_keys:
        seconds = wanted.seconds
        buckets = one_bucket.measure(
            folder / "one-bucket", keys=wanted.large_keys, kills=wanted.rounds, seconds=seconds, say=_say
        )
    move = None
    if wanted.large_keys:
        move = moving.measure(
            folder / "moving", keys=moving.KEYS, more_keys=moving.MORE_KEYS, seconds=wanted.seconds, say=_say
        )
    of_many = None
    if wanted.large_keys:
        of_many = many.measure(folder / "many", keys=wanted.large_keys, seconds=wanted.seconds, say=_say)
    of_clients = clients.measure(folder / "clients", rounds=wanted.rounds, seconds=wanted.seconds, say=_say)
    of_redis: list[redis_protocol.Round] = []
    if not (why := redis_protocol.why_not_measured()):
        of_redis = redis_protocol.measure(
            folder / "redis-protocol", rounds=wanted.rounds, seconds=wanted.seconds, say=_say
        )
    else:
        notes.append(why)
    return Results(
        machine=described,
        rounds=wanted.rounds,
        seconds=wanted.seconds,
        value_bytes=rounds.VALUE_BYTES,
        systems=[system for system in wanted.systems if not why_not(system)],
        cases=wanted.cases,
        key_counts=list(memory),
        samples=samples,
        memory=memory,
        buckets=buckets,
        move=move,
        many=of_many,
        clients=of_clients,
        redis_protocol=of_redis,
        bars=[
            *bars.judge(samples, SMALL_KEYS, wanted.large_keys, buckets, move),
            *(many.bars(of_many) if of_many else ()),
            *clients.bars(of_clients),
            *(redis_protocol.bars(of_redis) if of_redis else ()),
        ],
        notes=notes,
    )


def _rounds_at(
    keys: int,
    held: int,
    stage: Stage,
    systems: list[System],
    wanted: Options,
    samples: Samples,
    memory: dict[int, list[Resident]],
) -> int:
    """All rounds with each system holding that many keys, of which it holds some already; how many it holds now."""
    started_s = time.monotonic()
    fill(stage, held, keys - held, rounds.VALUE_BYTES)
    _say(f"filled with {keys:,} keys in {time.monotonic() - started_s:.0f} s")
    settle(stage)
    rounds.run_rounds(
        stage, systems, wanted.cases, samples, keys=keys, rounds=wanted.rounds, seconds=wanted.seconds, say=_say
    )
    memory[keys] = residents(stage)
    return keys


def _write(results: Results, wanted: Options) -> None:
    markdown = report.markdown(results)
    print(f"\n{markdown}\n")
    report.write_json(results, wanted.output)
    _say(f"all samples are in {wanted.output}")
    if wanted.docs is not None:
        report.write_docs(markdown, wanted.docs)
        _say(f"the tables are in {wanted.docs}")
    missed = sum(not bar.met for bar in results.bars)
    _say(f"{len(results.bars) - missed} of {len(results.bars)} bars met")


def _keep_logs(folder: Path, keep_in: Path) -> None:
    """Save what a failed run's processes had to say from the clean-up."""
    with uninterrupted():
        for log in [*folder.glob("*/data/serve.log"), *folder.glob("*/*.out")]:
            keep_in.mkdir(parents=True, exist_ok=True)
            shutil.copy(log, keep_in / "-".join(log.relative_to(folder).parts))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
