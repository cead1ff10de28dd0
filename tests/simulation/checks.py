"""What must be true of every run: that the store becomes whole again, and what was seen and what is stored add up."""

from __future__ import annotations

import asyncio
import math

from serve_app import placement, records
from serve_app.storage.facts import read_bucket_facts
from tests.simulation.clients import Clients
from tests.simulation.listing import Lister
from tests.simulation.loop import Process
from tests.simulation.observer import fallen
from tests.simulation.watching import check_told
from tests.simulation.world import World
from tests.support.linearizability import Event, violation

#: How long the store may take to be whole again when nothing is wrong any more.
HEALED_WITHIN_S = 40.0
_LOOK_EVERY_S = 0.25
#: What was held for a window is judged anew as soon as that has moved.
_HELD_WITHIN_S = 0.1


async def wait_until_whole(world: World) -> None:
    """Wait until every directory and bucket agrees on the configured topology and is connected."""
    deadline_s = world.loop.time() + HEALED_WITHIN_S
    while problem := _not_whole(world):
        if world.loop.time() > deadline_s:
            world.fail("whole", f"not whole {HEALED_WITHIN_S} s after all was healed: {problem}")
            return
        await asyncio.sleep(_LOOK_EVERY_S)
    world.note("all is whole")


async def watch_held(world: World) -> None:
    """Look now and then, until nobody wants to know any more, that nothing is held for a window that is not open."""
    seen: dict[str, Process] = {}
    while True:
        await asyncio.sleep(_HELD_WITHIN_S)
        before, seen = seen, {}
        for node in world.buckets.values():
            server, process = node.server, node.process
            if server is None or process is None or process.asleep or not len(server.held):
                continue
            cursor = server.bucket.standing.cursor
            if cursor is not None and cursor.intent_end:
                continue
            seen[node.name] = process
            if before.get(node.name) is process:
                world.fail("held", f"{node.name} holds {len(server.held)} operations, and no window is open there")
                return


def _not_whole(world: World) -> str:
    """What keeps the store from being whole; empty where it is."""
    for node in world.directories:
        if node.directory is None:
            return f"{node.name} is not up"
        view = node.directory.view
        topology = view.topology
        if topology is None:
            return f"{node.name} knows no topology: {node.directory.what_is_missing()}"
        if topology.phase != "stable" or topology.bucket_count != world.configured_count:
            return f"{node.name} knows {topology}, not {world.configured_count} buckets"
        for link in view.links.values():
            if link.bucket_id < topology.bucket_count and link.connection() is None:
                return f"{node.name} has no connection to bucket-{link.bucket_id}: {link.trouble}"
        for bucket_id in range(topology.bucket_count):
            server = world.bucket(bucket_id).server
            if server is None:
                return f"bucket-{bucket_id} is not up"
            standing = server.bucket.standing
            if standing.topology != topology or standing.fault:
                return f"bucket-{bucket_id} has {standing}"
            if server.bucket.writer.queued or server.bucket.writer.queued_bytes:
                return f"bucket-{bucket_id} has writes waiting"
        for bucket_id, bucket in sorted(world.buckets.items()):
            if bucket_id >= topology.bucket_count and bucket.server is not None:
                return f"{bucket.name} has not ended"
    return ""


def check_history(world: World, clients: Clients, lister: Lister) -> None:
    """What clients saw has an explanation, and what directories saw of revisions never fell."""

    history = clients.events + _losses(world, clients)
    listed = lister.events(sorted({event.key for event in clients.events}))
    if problem := violation(history + listed):
        # Where clients alone have seen nothing wrong, a list has said what is not true.
        world.fail("history" if listed and violation(history) else "lists", problem)
    if problem := fallen(world.observer.revisions):
        world.fail("revisions", problem)
    check_told(world, clients)


def _losses(world: World, clients: Clients) -> list[Event]:
    """Each volume that was given up as a delete, then or later or never, of every key that was on no other disk."""
    return [
        Event(key.decode(), "delete", None, None, lost.at_s, math.inf)
        for lost in world.lost_volumes
        for key in sorted(lost.only_there)
    ]


def check_disks(world: World, found: dict[str, str | None]) -> None:
    """Each key is at home and nowhere else, as it was read; the counts are exact."""
    stored: dict[str, str] = {}
    for bucket_id, node in sorted(world.buckets.items()):
        held = dict(node.disk.scan())
        for key, raw in held.items():
            home = placement.bucket_of(key, world.configured_count)
            if home != bucket_id:
                world.fail("disks", f"{key!r} is in bucket-{bucket_id}, and its home is bucket-{home}")
            if key.decode() in stored:
                world.fail("disks", f"{key!r} is in two buckets")
            stored[key.decode()] = records.decode(raw).value.decode()
        totals = read_bucket_facts(node.disk.get_fact, node.name).totals
        # `facts.py` counts the outcomes.
        real = totals._replace(keys=len(held), bytes=sum(len(key) + len(raw) for key, raw in held.items()))
        if totals != real:
            world.fail("disks", f"{node.name} counts {totals} and holds {real}")
        if any(records.decode(raw).revision > totals.revision for raw in held.values()):
            world.fail("disks", f"{node.name} holds a revision beyond its counter")
    read = {key: value for key, value in found.items() if value is not None}
    for name in sorted(stored.keys() | read.keys()):
        if stored.get(name) != read.get(name):
            world.fail("disks", f"the disks hold {stored.get(name)!r} for {name}, and read was {read.get(name)!r}")
