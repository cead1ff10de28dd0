"""`python -m serve_app verify` and `accept-loss`: an operator's commands on a running store.

They reach the buckets over Ray, as the directories do, so they run where Ray lets clients in: on the machine of the store, or
in one of its pods.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
from rich.console import Console
from rich.markup import escape

from serve_app import events
from serve_app.cli import verification_report as report
from serve_app.cli.buckets import Buckets
from serve_app.cli.loss import Loss, accept, find_loss
from serve_app.cli.verification import Verification
from serve_app.cli.verification import verify as read_all
from serve_app.command_output.failure import Failure
from serve_app.errors import StoreError
from serve_app.loopback import is_loopback
from serve_app.wire.link import ControlPlane

_BUCKET = re.compile(r"(?:bucket-)?(\d+)")


def verify(address: str) -> int:
    """Check every key of the store; the exit status is 0 where it is whole.

    Raises:
        Failure: it can't be checked.
    """
    console = Console(highlight=False)
    with _running_store(address) as finder, console.status("Looking for the buckets") as status:
        records = 0

        def progress(more: int) -> None:
            nonlocal records
            records += more
            status.update(f"Reading: {records:,} records so far")

        async def run() -> Verification:
            async with Buckets(finder) as buckets:
                return await read_all(buckets, progress)

        found = asyncio.run(run())
    return show(console, found)


def show(console: Console, found: Verification) -> int:
    """Show what was found; the exit status."""
    console.print(report.headline(found), soft_wrap=True)
    console.print(report.table(found))
    for line in report.misplaced(found):
        console.print(line, soft_wrap=True)
    console.print(report.verdict(found), soft_wrap=True)
    return 1 if found.problems else 0


def accept_loss(address: str, bucket: str, confirm: Callable[[str], str] | None) -> int:
    """Go on without a bucket's data. confirm: asks the operator to type a name; None where that is not wanted.

    Raises:
        Failure: it was not done, with the reason.
    """
    match = _BUCKET.fullmatch(bucket)
    if match is None:
        raise Failure(f"{bucket!r} is no bucket: write 1 or bucket-1")
    bucket_id = int(match[1])
    console = Console(highlight=False)
    with _running_store(address) as finder:

        async def find() -> Loss:
            async with Buckets(finder) as buckets:
                return await find_loss(buckets, bucket_id)

        async def go_on(loss: Loss) -> dict[int, str]:
            async with Buckets(finder) as buckets:
                return (await accept(buckets, loss))[1]

        loss = asyncio.run(find())
        for line in described(loss):
            console.print(escape(line), soft_wrap=True)
        name = f"bucket-{bucket_id}"
        if confirm is not None and confirm(f"Type {name} to go on without its data").strip() != name:
            raise Failure("nothing was changed")
        untold = asyncio.run(go_on(loss))
    console.print(f"[bold green]Accepted.[/] {name} serves, and starts empty.", soft_wrap=True)
    for other, why in sorted(untold.items()):
        console.print(escape(f"bucket-{other} could not be told yet, and will be by the others: {why}"), soft_wrap=True)
    return 0


def described(loss: Loss) -> list[str]:
    """What is known of a lost bucket, and what accepting it means."""
    topology = loss.topology
    moving = f", moving to {topology.target_count}" if topology.moving else ""
    return [
        f"bucket-{loss.bucket_id} of the store {topology.store_id} ({topology.bucket_count} buckets{moving}, "
        f"epoch {topology.epoch})",
        f"  the store knows its storage as  {loss.known_identity}",
        f"  the storage that is there now   {loss.identity}, which holds no records and belongs to no store",
        "All records that it had are given up, and its keys will answer 404. If the volume can still be brought back, do "
        "that instead: after this, delete it.",
    ]


@contextmanager
def _running_store(address: str) -> Iterator[ControlPlane]:
    """The buckets of the store on this Ray. What goes wrong meanwhile ends as a Failure."""
    if address == "local":
        raise Failure("RAY_ADDRESS is `local`, which starts a Ray of its own: unset it, or give --address")
    # Ray asks for its token by default, but a client sends it only when told to; it reads this when it is imported.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    found_here = _addresses_here() if address == "auto" else [address]
    if len(found_here) > 1:  # Ray would take one of them, and it is not to be guessed whose data is given up
        raise Failure(f"several Rays run on this machine: say which with --address ({', '.join(found_here)})")
    if _on_loopback(
        found_here
    ):  # as `run` starts it; a client that takes another address for its own is never called back
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    from serve_app.cluster.existing_buckets import ExistingBuckets
    from serve_app.cluster.ray_connection import NoRay, connected_to_ray

    events.configure("ERROR")  # what the links to the buckets meet is shown by the commands, in their own words
    try:
        with connected_to_ray(address):
            yield ExistingBuckets()
    except NoRay as error:
        raise Failure(str(error), must_end=True) from error
    except StoreError as error:
        raise Failure(str(error)) from error


def _addresses_here() -> list[str]:
    """The addresses of the Rays on this machine, as their processes have them."""
    arguments = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    named = {each.partition("=")[2] for line in arguments for each in line if each.startswith("--gcs-address=")}
    return sorted(named - {""})


def _on_loopback(addresses: list[str]) -> bool:
    """Whether all of these are loopback addresses, and there is any."""
    hosts = [each.rpartition(":")[0].strip("[]") for each in addresses]
    return bool(hosts) and all(map(is_loopback, hosts))
