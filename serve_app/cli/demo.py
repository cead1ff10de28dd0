"""`python -m serve_app demo`, which is `make demo`: load a real data set, and show that not a byte of it is lost.

It is made to be disturbed: kill a bucket or restart the store while it loads, and it says how often it had to try again,
and that everything is there. A store that was stopped and started again is checked with --check-only.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path

from rich.console import Console

from cloud_storage import AsyncStore, Forbidden, Record, SomeFailed, StoreError, Unauthorized
from serve_app.cli import dataset, demo_report
from serve_app.cli.status import NoAnswer, Store
from serve_app.command_output.failure import Failure
from serve_app.command_output.token import how_to_go_on, own_token
from serve_app.http.models import TopologyAnswer

#: How long a batch may take, with all attempts: a store that is started anew is back within that.
PATIENCE_S = 60.0
#: Records of one request.
_BATCH = 500
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
    topology(url)
    steps = _Steps(console, connections)
    try:
        store = AsyncStore(url, token=own_token(), timeout=PATIENCE_S, connections=connections, on_retry=steps.on_retry)
    except ValueError as error:
        raise Failure(str(error)) from None
    async with store:
        data_set = dataset.load(data)
        console.print(demo_report.headline(data_set), soft_wrap=True)
        records = data_set.records
        lost: list[str] = []

        async def put(keys: list[str]) -> None:
            await store.put_many([(key, records[key]) for key in keys])

        async def compare(keys: list[str]) -> None:
            found = await store.get_many(keys)
            lost.extend(wrong for key in keys if (wrong := _what_is_wrong(key, records[key], found.get(key))))

        if not check_only:
            await steps.run("Loading", "Loaded", list(records), put)
        await steps.run("Checking", "Read back", list(records), compare)
    console.print(demo_report.spread(records, topology(url)))
    console.print(demo_report.verdict(lost, len(records)), soft_wrap=True)
    return 1 if lost else 0


def topology(url: str) -> TopologyAnswer:
    """What the store says of itself, of which there is one attempt: is this a store, and is it up? Raises Failure."""
    store = Store(url)
    try:
        return store.topology()
    except NoAnswer as error:
        raise Failure(f"no store answers at {url} ({error}); `make run` starts one") from None
    finally:
        store.close()


def _what_is_wrong(key: str, expected: str, found: Record | None) -> str:
    if found is None:
        return f"{key!r}: no such key"
    if found.value != expected.encode():
        return f"{key!r}: {demo_report.difference(expected.encode(), found.value)}"
    return ""


class _Steps:
    """The steps of a demo, each under a progress bar."""

    def __init__(self, console: Console, connections: int) -> None:
        self._console, self._connections = console, connections
        #: How often something was sent again in this step, by the reason.
        self._retries: Counter[str] = Counter()
        self._show: Callable[[], None] = lambda: None

    def on_retry(self, why: str) -> None:
        """The store sends something again."""
        self._retries[why] += 1
        self._show()

    async def run(self, doing: str, done: str, keys: list[str], work: Callable[[list[str]], Awaitable[None]]) -> None:
        """Do the work for all keys, some of them at a time; then say how it went. Raises Failure."""
        started_s = time.monotonic()
        self._retries.clear()
        with demo_report.progress(self._console) as progress:
            bar = progress.add_task(doing, total=len(keys), note="")
            self._show = lambda: progress.update(bar, note=f"{self._retries.total():,} sent again")

            async def some(batch: list[str]) -> None:
                await work(batch)
                progress.advance(bar, len(batch))

            await self._for_each(_batches(keys), some)
        took_s = time.monotonic() - started_s
        self._console.print(demo_report.summary(done, len(keys), took_s, self._retries), soft_wrap=True)

    async def _for_each(self, batches: Iterator[list[str]], work: Callable[[list[str]], Awaitable[None]]) -> None:
        """The first failure ends it."""

        async def worker() -> None:
            for batch in batches:
                await work(batch)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._connections):
                    group.create_task(worker())
        except ExceptionGroup as errors:
            failures = errors.subgroup(StoreError)
            if failures is None:
                raise
            raise failure_of(failures.exceptions[0]) from None


def _batches(keys: list[str]) -> Iterator[list[str]]:
    left = iter(keys)
    while batch := list(islice(left, _BATCH)):
        yield batch


def failure_of(error: BaseException) -> Failure:
    """What to say where a batch could not be loaded or read."""
    first = next(iter(error.errors.values())) if isinstance(error, SomeFailed) else error
    if isinstance(first, Unauthorized | Forbidden):
        return Failure(how_to_go_on(str(first), "read,write,admin"))
    return Failure(str(error))
