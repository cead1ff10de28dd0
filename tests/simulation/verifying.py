"""`verify`, by the command's own code: an operator looks now and then while all goes on, and once more at the end.

Meanwhile it may say that it could not read a bucket; what it must never say of a store that lost nothing is that a key is at
the wrong bucket, or that a count is wrong.
"""

from __future__ import annotations

import asyncio

from serve_app.cli.buckets import Buckets
from serve_app.cli.reading import Count
from serve_app.cli.verification import Verification, verify
from serve_app.command_output.failure import Failure
from serve_app.wire.connection import NO_ANSWER
from tests.simulation.finder import Finder
from tests.simulation.loop import Process
from tests.simulation.world import World

_FIND_TIMEOUT_S = 2.0


def start_verifying(world: World) -> Process:
    """Verify, mostly while keys move, until the process that this gives is killed."""
    process = world.loop.process("verify")
    world.loop.create_task(_keep_verifying(world), name="verify", context=process.context)
    return process


async def verify_at_the_end(world: World, records: int) -> None:
    """The store is whole, and nobody writes: everything must be read, be at home, and add up. records: how many there are."""
    context = world.loop.process("verify").context
    await world.loop.create_task(_check_all(world, records), name="verify", context=context)


async def _keep_verifying(world: World) -> None:
    while True:
        await world.next_moment(5.0)
        await asyncio.sleep(world.rng.expovariate(5))
        try:
            found = await _verify(world)
        except (Failure, *NO_ANSWER) as error:
            world.trace(f"verify: {error}")
            continue
        world.counts["verifications"] += 1
        world.counts["verifications while moving"] += found.topology.moving
        for reading in found.readings.values():
            # A store that has gone on without a volume may have records left that belonged to it.
            if reading.count is Count.WRONG or (reading.misplaced and not world.lost_volumes):
                world.fail("verify", f"a false alarm: {found.problems}, of {reading}")


async def _check_all(world: World, records: int) -> None:
    try:
        found = await _verify(world)
    except (Failure, *NO_ANSWER) as error:
        world.fail("verify", f"not done: {error}")
        return
    if found.problems or not found.settled or not found.counts_exact or found.records != records:
        world.fail(
            "verify", f"{found.problems} {found.records} of {records} records, counts exact: {found.counts_exact}"
        )


async def _verify(world: World) -> Verification:
    buckets = Buckets(Finder(world), _FIND_TIMEOUT_S)
    try:
        found = await verify(buckets)
    except (Failure, *NO_ANSWER):
        await _close(buckets)
        raise
    await _close(buckets)
    return found


async def _close(buckets: Buckets) -> None:
    """Never in a `finally`, which would run, and wait, where the run ends and whatever is left is cleaned up."""
    await buckets.__aexit__(None, None, None)
