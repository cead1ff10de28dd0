"""What can be typed of `bench`."""

from __future__ import annotations

import secrets
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloud_storage.commands import shown
from cloud_storage.commands.bench.values import DEFAULT_BYTES, LEAST_BYTES
from cloud_storage.commands.bench.workloads import REFUSED, WORKLOADS, Operation
from cloud_storage.commands.options import TIMEOUT_S, URL, Timeout, TokenFile, Url, token_in
from cloud_storage.commands.progress import progress
from cloud_storage.commands.statuses import Ended, Status, complain

if TYPE_CHECKING:
    from cloud_storage.async_store import AsyncStore
    from cloud_storage.commands.bench.driver import Driver, Plan

_OPERATIONS = 10_000
_SHOWN_PROBLEMS = 5


def bench(
    workload: Annotated[
        str,
        typer.Option(
            metavar="a|b|c|d|f", help="Of YCSB: a 50/50 read and update, b 95/5, c reads, d latest, f modify."
        ),
    ] = "a",
    records: Annotated[int, typer.Option(min=1, help="Records there are.")] = 1000,
    operations: Annotated[int | None, typer.Option(min=1, help="Operations in all; else 10,000.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.001, help="For so long, instead.")] = None,
    clients: Annotated[int, typer.Option(min=1, max=1000, help="Operations under way at once.")] = 32,
    value_bytes: Annotated[int, typer.Option(min=LEAST_BYTES, max=1_000_000, help="Bytes of a value.")] = DEFAULT_BYTES,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Begin so many a second, and measure from when each should begin.")
    ] = None,
    load: Annotated[
        bool, typer.Option("--load/--no-load", help="Store the records first; else they are there.")
    ] = True,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the records there.")] = False,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="Of all keys; else one of its own.", show_default=False)
    ] = "",
    seed: Annotated[int, typer.Option(help="What is drawn is the same with the same seed.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    url: Url = URL,
    timeout: Timeout = TIMEOUT_S,
    token_file: TokenFile = None,
) -> int:
    """Measure the store with a workload of YCSB, and check what it reads.

    The status is 1 where an operation failed, or what was read is not what was stored; of workload f, whether an update was
    lost. The records are removed at the end where this has loaded them.
    """
    import asyncio  # this and aiohttp take longer to import than a `get` takes

    from cloud_storage.async_store import AsyncStore
    from cloud_storage.commands.bench.driver import Driver, Plan

    if workload in REFUSED:
        raise Ended(Status.USAGE, REFUSED[workload])
    if workload not in WORKLOADS:
        raise Ended(Status.USAGE, f"there is no workload {workload!r}: say one of {', '.join(WORKLOADS)}")
    if operations is not None and seconds is not None:
        raise Ended(Status.USAGE, "say --operations or --seconds")
    if not load and not prefix:
        raise Ended(Status.USAGE, "--no-load needs the --prefix of records that a run with --keep has loaded")
    plan = Plan(
        WORKLOADS[workload],
        records,
        _OPERATIONS if operations is None and seconds is None else operations,
        seconds,
        clients,
        value_bytes,
        rate,
        prefix or f"bench/{secrets.token_hex(4)}/",
        seed,
    )
    token = token_in(token_file)

    async def run() -> int:
        async with AsyncStore(url, token=token, timeout=timeout, connections=clients) as store:
            if load and [name async for name in _first(store, plan.prefix)]:
                raise Ended(
                    Status.USAGE, f"there are keys with the prefix {plan.prefix!r}, which are not to be touched"
                )
            try:
                return await _measured(Driver(store, plan), plan, load, json)
            finally:
                if load and not keep:
                    await _remove(store, plan.prefix)

    async def ended_by_a_signal() -> int:
        """As by Ctrl-C: what has been loaded is removed."""
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await run()

    try:
        return asyncio.run(ended_by_a_signal())
    except asyncio.CancelledError:
        raise Ended(Status.TERMINATED) from None


async def _measured(driver: Driver, plan: Plan, load: bool, json: bool) -> int:
    told: dict[str, Any] = {}
    if load:
        with progress("Loading", plan.records, in_bytes=False) as show:
            took_s = await driver.load(lambda done: show(done, ""))
        told["LOAD"] = {"Records": plan.records, "RunTime(ms)": round(took_s * 1000)}
    checks = Operation.MODIFY in plan.workload.shares
    before = await driver.modified_in_all() if checks else 0
    with progress(f"Workload {plan.workload.letter}", plan.operations, in_bytes=False) as show:
        await driver.run(lambda done: show(done, ""))
    measured, lost = driver.measured, 0
    if checks:
        try:
            lost = driver.lost_updates(before, await driver.modified_in_all())
            told["VERIFY"] = {"LostUpdates": lost}
        except ValueError as error:  # a record is gone, or another
            measured.problems[str(error)] += 1
            lost = 1
    if json:
        typer.echo(shown.as_json({"workload": plan.workload.letter, **told, **measured.as_dict()}))
    else:
        for name, figures in told.items():
            for what, figure in figures.items():
                typer.echo(f"[{name}], {what}, {figure}")
        for line in measured.lines():
            typer.echo(line)
    for problem, times in measured.problems.most_common(_SHOWN_PROBLEMS):
        complain(f"{times:,} times: {problem}")
    return Status.NO if measured.failed or lost else Status.DONE


async def _first(store: AsyncStore, prefix: str) -> AsyncIterator[str]:
    async for listed in store.list(prefix):
        yield listed.name
        return


async def _remove(store: AsyncStore, prefix: str) -> None:
    names = [listed.name async for listed in store.list(prefix)]
    await store.delete_many(names)
