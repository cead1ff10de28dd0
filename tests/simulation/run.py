"""One run from a seed, and everything that is checked about it."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from unittest.mock import patch

from serve_app.bucket import mover_access, server
from serve_app.cli import buckets
from serve_app.directory import polling
from serve_app.directory.listing import Question
from serve_app.resharding import coordinator, mover, parts
from serve_app.storage.engine import Changes
from serve_app.wire import link
from tests.simulation.bounds import bounded
from tests.simulation.checks import check_disks, check_history, wait_until_whole, watch_held
from tests.simulation.clients import Clients
from tests.simulation.electing import Electing, Votes, with_several_acceptors
from tests.simulation.expired import expired_is_not_shown
from tests.simulation.facts import check_batch, check_facts
from tests.simulation.failures import Failure
from tests.simulation.faults import Faults
from tests.simulation.listing import Lister
from tests.simulation.loop import new_loop
from tests.simulation.losses import Losses
from tests.simulation.nodes import BucketNode
from tests.simulation.plan import FAULTS, Plan, draw
from tests.simulation.trials import Trials
from tests.simulation.verifying import start_verifying, verify_at_the_end
from tests.simulation.watching import Watcher, all_is_heard
from tests.simulation.world import World

_RUNS_A_COLLECTION = 16


@dataclass
class Report:
    """What a run was like. failures is empty where all is well."""

    seed: int
    failures: list[Failure] = field(default_factory=list)
    digest: str = ""
    operations: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    #: What else happened: moves begun and ended, windows begun, taken and moved.
    events: Counter[str] = field(default_factory=Counter)
    #: Keys whose histories were checked.
    histories: int = 0
    overlapping: int = 0
    virtual_s: float = 0.0
    callbacks: int = 0


class _ErrorLog(logging.Handler):
    """The product's own word that something happened that it did not expect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.surprises: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.surprises.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


def simulate(seed: int, *, several: bool = False, verbose: bool = False) -> Report:
    """Run one seed to its end and check it. several: with several acceptors, named anew all the time."""
    report = Report(seed)
    rng = random.Random(seed)
    loop = new_loop()
    plan = with_several_acceptors(rng, draw(rng)) if several else draw(rng)
    world = World(loop, rng, plan, verbose=verbose)
    if verbose:
        print(plan)
    votes = Votes(world)

    def on_batch(node: BucketNode, facts: Changes) -> None:
        check_batch(node, facts)
        votes.stored(node, facts)

    world.on_batch = on_batch
    clients, lister = Clients(world), Lister(world)
    logger, log = logging.getLogger("serve_app"), _ErrorLog()
    before = (logger.level, logger.propagate, logger.handlers[:])
    logger.setLevel(logging.ERROR)
    logger.propagate, logger.handlers[:] = False, [log]
    collecting = gc.isenabled()
    gc.disable()  # whatever is cleaned up in the middle of a run could act in it
    try:
        with _small_steps(plan, rng), bounded(plan.bounds), expired_is_not_shown(world.fail):
            loop.run(_main(world, clients, lister))
            loop.close_tasks(world.served)
        check_history(world, clients, lister)
    except Exception as error:
        world.fail("surprise", f"the run ended with {error!r}")
    finally:
        logger.setLevel(before[0])
        logger.propagate, logger.handlers[:] = before[1], before[2]
        if collecting:
            gc.enable()
        if seed % _RUNS_A_COLLECTION == 0:
            gc.collect()  # a run leaves a world of cycles, which the collector by itself is in no hurry to look at
    report.failures = world.failures + [Failure("surprise", text) for text in (*loop.failures, *log.surprises)]
    report.digest = world.digest
    report.operations = clients.outcomes
    for name, count in world.counts.items():
        (report.faults if name in FAULTS else report.events)[name] = count
    report.histories = len({event.key for event in clients.events})
    report.overlapping = clients.overlapping()
    report.virtual_s, report.callbacks = loop.time(), loop.callbacks
    return report


async def _main(world: World, clients: Clients, lister: Lister) -> None:
    world.start()
    faults = Faults(world)
    harm = asyncio.create_task(faults.run())
    losses = asyncio.create_task(Losses(world).run())
    changes = asyncio.create_task(_change_bucket_count(world))
    electing = Electing(world) if world.plan.elections_every_s else None
    elections = asyncio.create_task(electing.run()) if electing is not None else None
    watch = asyncio.create_task(watch_held(world))
    trials = Trials(world, clients)
    trying = asyncio.create_task(trials.run()) if world.plan.trial else None
    verifying = start_verifying(world) if world.plan.verifies else None
    listing = asyncio.create_task(lister.run())
    watchers = [Watcher(world, number) for number in range(world.plan.watchers)]
    following = [asyncio.create_task(watcher.run()) for watcher in watchers]
    await clients.work()
    harm.cancel()
    losses.cancel()
    if electing is not None and elections is not None:
        electing.stop()
        elections.cancel()
    changes.cancel()
    listing.cancel()
    if trying is not None:
        await trials.finish(trying)
    faults.heal()
    await asyncio.sleep(world.plan.limits.request_timeout_s)  # for what is still under way, of unknown fate
    await wait_until_whole(world)
    await clients.write_everywhere()
    found = await clients.read_all()
    # In small pages: some runs look at few names, and not long.
    speed = world.plan.speed
    slow = speed.preempted_share or speed.stalled_read_share
    if not await lister.list_all(Question(limit=1), pages=200) and not slow:
        world.fail("whole", "no list succeeds, though nothing is wrong any more")
    await all_is_heard(world, watchers)
    for each in following:
        each.cancel()
    await verify_at_the_end(world, sum(value is not None for value in found.values()))
    await asyncio.sleep(2.0)  # late messages may still do harm
    watch.cancel()
    if verifying is not None:
        world.loop.kill(verifying)
    check_disks(world, found)
    check_facts(world)


async def _change_bucket_count(world: World) -> None:
    for change in world.plan.changes:
        if change.settled:
            await world.settled(5.0)
        await asyncio.sleep(change.after_s)
        world.configure(change.bucket_count)
        world.changes_left -= 1


@contextmanager
def _small_steps(plan: Plan, rng: random.Random) -> Iterator[None]:
    """Let few keys move in many steps, and moves begin soon; closing take time; and nobody draw by himself."""
    moving = plan.moving
    stop = link.BucketLink.stop

    async def stop_slowly(self: link.BucketLink) -> None:
        await stop(self)
        if plan.closing_s:
            await asyncio.sleep(rng.random() * plan.closing_s)

    with (
        patch.multiple(mover, WINDOW_BYTES=moving.window_bytes, _WAY_TO_CLIENTS=moving.rest),
        patch.object(parts, "PART_BYTES", moving.part_bytes),
        patch.object(mover_access, "_MAX_SCANNED", moving.max_scanned),
        patch.multiple(
            coordinator, AGREED_S=moving.agreed_s, LATELY_S=moving.lately_s, _INTERVAL_S=moving.refresh_s / 4
        ),
        patch.object(polling, "REFRESH_S", moving.refresh_s),
        patch.object(buckets, "BucketLink", partial(link.BucketLink, jitter=rng.random)),
        patch.object(link.BucketLink, "stop", stop_slowly),
        patch.object(server, "_LEFT_ALONE_S", 2.5),
        patch.object(link, "_SWEEP_S", 0.15),  # every link's, it is most of what happens otherwise
    ):
        yield
