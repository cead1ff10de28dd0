"""The results as Markdown, for a terminal and for docs/performance.md, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import redis_protocol
from benchmarks.bars import Bar
from benchmarks.clients import Round
from benchmarks.failure import BenchmarkFailed
from benchmarks.figures import Case, Samples, Spread
from benchmarks.machine import Machine
from benchmarks.many import Many
from benchmarks.memory import Resident
from benchmarks.move_figures import Move
from benchmarks.one_bucket import LargeBucket
from benchmarks.systems import EMPTY, System
from benchmarks.wrk import Result, title

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"


@dataclass
class Results:
    """All of a run. memory is by number of keys, notes are sentences on what was left out."""

    machine: Machine
    rounds: int
    seconds: int
    value_bytes: int
    systems: Sequence[System]
    cases: Sequence[Case]
    key_counts: Sequence[int]
    samples: Samples
    memory: dict[int, list[Resident]]
    buckets: list[LargeBucket]
    move: Move | None
    many: Many | None
    clients: list[Round]
    redis_protocol: list[redis_protocol.Round]
    bars: list[Bar]
    notes: list[str]


def write_json(results: Results, path: Path) -> None:
    """Every sample and figure, for whoever wants to compute something else."""
    document = {
        "machine": dataclasses.asdict(results.machine),
        "rounds": results.rounds,
        "seconds": results.seconds,
        "value_bytes": results.value_bytes,
        "bars": [dataclasses.asdict(bar) for bar in results.bars],
        "notes": results.notes,
        "memory": {keys: [dataclasses.asdict(each) for each in found] for keys, found in results.memory.items()},
        "large_buckets": [dataclasses.asdict(bucket) for bucket in results.buckets],
        "move": dataclasses.asdict(results.move) if results.move else None,
        "many": results.many._asdict() if results.many else None,
        "clients": [_plain(each) for each in results.clients],
        "redis_protocol": [redis_protocol.plain(each) for each in results.redis_protocol],
        "samples": [
            {
                "keys": sample.keys,
                "round": sample.round_number,
                "workload": sample.case.workload,
                "connections": sample.case.connections,
                "system": sample.system,
                **dataclasses.asdict(sample.result),
            }
            for sample in results.samples.all
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _plain(one: Round) -> dict[str, Any]:
    return {
        name: dataclasses.asdict(value) if isinstance(value, Result) else value for name, value in one._asdict().items()
    }


def write_docs(markdown: str, path: Path) -> None:
    """Put the text between the two markers; the rest of the file stays as it is.

    Raises:
        BenchmarkFailed: the file or its markers are not there.
    """
    text = path.read_text() if path.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchmarkFailed(f"{path} has no {BEGIN} … {END} to write the results between")
    path.write_text(f"{before}{begin}\n\n{markdown}\n{end}{after}")


def markdown(results: Results) -> str:
    """All tables, under headings of the third level."""
    return "\n".join(_lines(results))


def _lines(results: Results) -> Iterator[str]:
    machine = results.machine
    yield (
        f"Measured on {machine.date}: {machine.cpu}, {machine.cores} cores, {machine.memory_gib:.0f} GiB, {machine.kernel}, "
        f"Python {machine.python}, Ray {machine.ray}. The data is on {machine.file_system}, which takes "
        f"{machine.fdatasync_per_s:,.0f} appends of 512 B a second, each with an fdatasync. Load and systems share the "
        f"cores; the load average of the minute before was {machine.load_before:.2f}."
    )
    yield ""
    yield (
        f"Rounds: {results.rounds}, in each {results.seconds} s of every load on every system; values of "
        f"{results.value_bytes} B. Figures are medians of the rounds, with the lowest and the highest in brackets; x is the "
        "ratio to the empty handler in the same round; latencies are the client's. Caches are warm: each system is "
        "read for a while first."
    )
    if results.notes:
        yield ""
        yield from (f"- {note}" for note in results.notes)
    if results.bars:
        yield from _bars(results.bars)
    for keys in results.key_counts:
        yield from _throughput(results, keys)
    if results.buckets:
        yield from _buckets(results.buckets)
    if results.move:
        yield from _move(results.move)
    if results.memory:
        yield from _memory(results.memory)


def _bars(bars: Sequence[Bar]) -> Iterator[str]:
    yield from _heading("What was promised")
    yield from _table(
        ("figure", "promised", "measured", ""),
        ((bar.figure, bar.wanted, bar.measured, "met" if bar.met else "**missed**") for bar in bars),
    )


def _throughput(results: Results, keys: int) -> Iterator[str]:
    yield from _heading(f"Throughput and latency at {keys:,} keys")
    rows = []
    samples = results.samples
    for case in results.cases:
        for system in results.systems:
            rate = samples.of(keys, case, system, lambda result: result.requests_per_s)
            ratio = samples.ratio(keys, case, system)
            p50 = samples.of(keys, case, system, lambda result: result.p50_ms)
            p99 = samples.of(keys, case, system, lambda result: result.p99_ms)
            if rate and ratio and p50 and p99:
                shown = "1" if system is EMPTY else _spread(ratio, 2)
                load = f"{title(case.workload)}, {case.connections} conn."
                rows.append((load, system.title, shown, _spread(rate, 0), _spread(p50, 2), _spread(p99, 2)))
    yield from _table(("load", "system", "x", "requests/s", "p50 ms", "p99 ms"), rows)


def _buckets(buckets: Sequence[LargeBucket]) -> Iterator[str]:
    yield from _heading("One large bucket")
    rows = []
    for bucket in buckets:
        opened = ", ".join(f"{each.opened_s:.2f}" for each in bucket.reopenings)
        back = ", ".join(f"{each.back_s:.1f}" for each in bucket.reopenings)
        rows.append(
            (
                f"{bucket.keys:,} of {bucket.value_bytes:,} B",
                f"{bucket.filled.resident_bytes / 1e6:,.0f} MB ({bucket.filled.peak_bytes / 1e6:,.0f} MB)",
                opened,
                back,
                f"{bucket.writes_per_s:,.0f}",
            )
        )
    yield from _table(
        (
            "keys and values",
            "resident (peak)",
            "s to reopen after `kill -9`",
            "s from the kill to an answer",
            "writes/s while filled over its socket",
        ),
        rows,
    )


def _move(move: Move) -> Iterator[str]:
    yield from _heading(f"Moving keys ({move.alone.keys:,} of {move.value_bytes:,} B in all)")
    yield f"At the rate that ships: at most {move.rate_bytes_per_s / (1 << 20):g} MiB of records a second from each bucket."
    yield ""
    rows = [
        ("1 → 2 buckets, nobody at work", f"{move.alone.keys_per_s:,.0f}", "", "", "", ""),
        ("90/10, 32 conn., before", "", *_client_side(move.before, 1.0)),
        ("2 → 1 buckets under that load", f"{move.loaded_keys_per_s:,.0f}", *_client_side(move.during, move.p99_ratio)),
    ]
    yield from _table(("", "keys moved/s", "requests/s", "p99 ms", "x", "longest ms"), rows)
    yield ""
    yield "What the first of these adds to the resident memory of its two processes, at its peak:"
    yield ""
    yield from _table(
        ("keys in the store", "keys moved/s", "source MB", "target MB"),
        (
            (
                f"{each.keys:,}",
                f"{each.keys_per_s:,.0f}",
                f"{each.source_growth_bytes / 1e6:,.0f}",
                f"{each.target_growth_bytes / 1e6:,.0f}",
            )
            for each in (move.alone, move.larger)
        ),
    )


def _client_side(result: Result, p99_ratio: float) -> tuple[str, str, str, str]:
    return f"{result.requests_per_s:,.0f}", f"{result.p99_ms:.1f}", f"{p99_ratio:.1f}", f"{result.longest_ms:.0f}"


def _memory(memory: dict[int, list[Resident]]) -> Iterator[str]:
    yield from _heading("Resident memory of each process, in MB")
    counts = list(memory)
    names = list(dict.fromkeys(each.process for found in memory.values() for each in found))
    rows = []
    for name in names:
        sizes = [
            next((f"{each.resident_bytes / 1e6:,.0f}" for each in memory[keys] if each.process == name), "")
            for keys in counts
        ]
        rows.append((name, *sizes))
    yield from _table(("process", *(f"{keys:,} keys" for keys in counts)), rows)
    yield from ("", "Pages that processes share (libraries, mostly) count in each of them, in the last row too.")


def _heading(text: str) -> Iterator[str]:
    yield from ("", f"### {text}", "")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "| " + " | ".join("---" for _ in header) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _spread(found: Spread, digits: int) -> str:
    median, low, high = (f"{value:,.{digits}f}" for value in found)
    return f"{median} ({low} - {high})"
