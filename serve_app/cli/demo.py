"""`python -m serve_app demo`, which is `make demo`: load a real data set, and show that not a byte of it is lost.

It is made to be disturbed: kill a bucket or restart the store while it loads, and it says how often it had to try again,
and that everything is there. A store that was stopped and started again is checked with --check-only.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from rich.console import Console

from serve_app.cli import dataset, demo_report
from serve_app.cli.patient_client import PatientClient
from serve_app.command_output.failure import Failure

#: What a shell shows for a command ended by Ctrl-C.
_INTERRUPTED = 130


def demo(url: str, data: Path | None, connections: int, check_only: bool) -> int:
    """Load a data set and check it, or only check it. The exit status is 0 where nothing is lost.

    Raises:
        Failure: it can't be done, or the store did not answer for too long.
    """
    console = Console(highlight=False)
    try:
        return asyncio.run(_demo(console, url, data, connections, check_only))
    except KeyboardInterrupt:
        console.print("Stopped. What was loaded stays; run the demo again to load the rest and to check all of it.")
        return _INTERRUPTED


async def _demo(console: Console, url: str, data: Path | None, connections: int, check_only: bool) -> int:
    async with PatientClient(url, connections) as client:
        await client.topology()
        data_set = dataset.load(data)
        console.print(demo_report.headline(data_set), soft_wrap=True)
        records = data_set.records
        lost: list[str] = []
        by_bucket: Counter[int] = Counter()

        async def put(key: str) -> None:
            await client.put(key, records[key])

        async def compare(key: str) -> None:
            got = await client.get(key)
            if got is None:
                lost.append(f"{key!r}: no such key")
                return
            by_bucket[got[1]] += 1
            if got[0] != records[key]:
                lost.append(f"{key!r}: {demo_report.difference(records[key], got[0])}")

        if not check_only:
            await _step(console, "Loading", "Loaded", client, records, connections, put)
        await _step(console, "Checking", "Read back", client, records, connections, compare)
        console.print(demo_report.spread(by_bucket, await client.topology()))
    console.print(demo_report.verdict(lost, len(records)), soft_wrap=True)
    return 1 if lost else 0


async def _step(
    console: Console,
    doing: str,
    done: str,
    client: PatientClient,
    keys: Iterable[str],
    connections: int,
    work: Callable[[str], Awaitable[None]],
) -> None:
    """Do the work for each key, `connections` at a time, under a progress bar; then say how it went."""
    keys = list(keys)
    started_s = time.monotonic()
    client.retries.clear()
    with demo_report.progress(console) as progress:
        bar = progress.add_task(doing, total=len(keys), note="")

        async def one(key: str) -> None:
            await work(key)
            progress.advance(bar)

        client.on_retry = lambda: progress.update(bar, note=f"{client.retries.total():,} sent again")
        await _for_each(keys, connections, one)
    console.print(demo_report.summary(done, len(keys), time.monotonic() - started_s, client.retries), soft_wrap=True)


async def _for_each(keys: Iterable[str], connections: int, work: Callable[[str], Awaitable[None]]) -> None:
    """Run the work for all keys; the first failure ends it."""
    left = iter(keys)

    async def worker() -> None:
        for key in left:
            await work(key)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(worker())
    except ExceptionGroup as errors:
        failures = errors.subgroup(Failure)
        if failures is None:
            raise
        raise failures.exceptions[0] from None
