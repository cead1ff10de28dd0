"""Trials of availability: runs in which one thing goes wrong at a time, and nothing else.

Where everything happens at once, hardly any answer is wrong for being late, or for being a refusal. Here it is: in each move
one bucket gets into trouble, and the store has to do all that it can do without that one within a bound, and the rest as soon
as it is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

import msgspec

from serve_app.cursor import Cursor, possible_homes
from serve_app.records import expires_ms
from serve_app.storage.facts import CURSOR, TOPOLOGY
from serve_app.topology import Topology
from tests.simulation.clients import Clients
from tests.simulation.disk import PLENTY_BYTES
from tests.simulation.nodes import BucketNode
from tests.simulation.world import World

#: With nothing wrong a move takes a second or two here: it may take this long when the trouble is over.
MOVED_WITHIN_S = 12.0
#: A source that is in trouble, but can give keys away, has this long for all of them.
GIVEN_WITHIN_S = 8.0
#: From when a disk has met damage, reads are answered within this.
READ_WITHIN_S = 1.5
_READS = 4
_LOOK_EVERY_S = 0.05


class Trials:
    """Makes the trouble that the plan names, in each move, until nobody wants it any more."""

    def __init__(self, world: World, clients: Clients) -> None:
        self.world = world
        self.clients = clients
        self._last = False
        self._troubles = {
            "full-source": self._full_source,
            "full-target": self._full_target,
            "target-away": self._target_away,
            "damaged-source": self._damaged_source,
            "quick-changes": self._nothing,
        }

    async def run(self) -> None:
        """In one move after the other, until `finish`."""
        world = self.world
        while (topology := await self._next_move()) is not None:
            await asyncio.sleep(_LOOK_EVERY_S)
            await self._troubles[world.plan.trial](topology)
            await self._within(
                MOVED_WITHIN_S,
                lambda topology=topology: self._is_over(topology),  # type: ignore[misc]
                f"the move of epoch {topology.epoch} does not end",
            )

    async def finish(self, trying: asyncio.Task[None]) -> None:
        """Wait until the one under way has come to its end."""
        self._last = True
        await trying
        self._heal()

    def _heal(self) -> None:
        for node in self.world.buckets.values():
            node.disk.free = PLENTY_BYTES
            if node.server is not None and node.server.bucket.last_error:
                node.crash()
            node.start()

    # -- the troubles -------------------------------------------------------------------------------------------------

    async def _nothing(self, topology: Topology) -> None:
        """Nothing at all: closing takes time, and the next change comes close behind."""

    async def _full_source(self, topology: Topology) -> None:
        """What it holds leaves it all the same: the others have room."""
        node = self._any(bucket_id for bucket_id in range(topology.bucket_count) if possible_homes(topology, bucket_id))
        self._fill(node)
        given_away = await self._within(
            GIVEN_WITHIN_S,
            lambda: _has_moved(node, topology) or self._is_over(topology),
            f"{node.name} has a full disk and gives no keys away, though there is room for them",
        )
        if given_away:
            self.world.counts["keys left a full disk"] += 1
        node.disk.free = PLENTY_BYTES

    async def _full_target(self, topology: Topology) -> None:
        """Nothing can go there; when there is room, it goes on."""
        node = self._any_target(topology)
        self._fill(node)
        await asyncio.sleep(self.world.rng.uniform(0.5, 2.5))
        node.disk.free = PLENTY_BYTES

    async def _target_away(self, topology: Topology) -> None:
        node = self._any_target(topology)
        node.crash()
        await asyncio.sleep(self.world.rng.uniform(0.2, 2.5))
        node.start()

    async def _damaged_source(self, topology: Topology) -> None:
        """A step of its move meets damage: it writes nothing more until it is started again, and answers reads."""
        world = self.world
        damaged: asyncio.Future[BucketNode] = world.loop.create_future()
        steps, advances = world.rng.randrange(4), world.rng.random() < 0.75

        def in_sync(node: BucketNode, facts: Collection[bytes]) -> None:
            nonlocal steps
            if CURSOR not in facts or TOPOLOGY in facts or damaged.done():
                return
            if advances != (node.bucket_id in world.windows):
                return
            if steps == 0:
                node.disk.damaged_next = True
                damaged.set_result(node)
            steps -= 1

        world.on_facts = in_sync
        await self._within(MOVED_WITHIN_S, lambda: damaged.done() or self._is_over(topology))
        if damaged.done():
            await self._reads_go_on(damaged.result())
        world.on_facts = lambda node, facts: None

    async def _reads_go_on(self, node: BucketNode) -> None:
        world = self.world
        if await self._within(MOVED_WITHIN_S, lambda: not node.disk.damaged_next, "a sync does not end"):
            world.note(f"{node.name} has met damage, and writes nothing more")
            await asyncio.sleep(0.1)
            held = node.disk.held_keys()
            cursor = _cursor(node)
            first = [key for key in held if cursor is not None and cursor.in_window(key)]
            # What has expired is answered once it is deleted, which it can't be now.
            lasting = [key for key in [*first, *world.rng.sample(held, len(held))] if not _expires(node, key)]
            for key in lasting[:_READS]:
                await self._can_be_read(node, key.decode())
        node.crash()
        node.start()

    async def _can_be_read(self, node: BucketNode, key: str) -> None:
        world = self.world
        directory = world.rng.choice(world.directories)
        deadline_s = world.loop.time() + READ_WITHIN_S
        while world.loop.time() < deadline_s:
            if await self.clients.operate(directory, "get", key) == "ok":
                world.counts["reads beside damage"] += 1
                return
            await asyncio.sleep(_LOOK_EVERY_S)
        world.fail("available", f"{key} can't be read: {node.name} has met damage in a write, and answers no reads")

    # -- looking --------------------------------------------------------------------------------------------------------

    def _is_over(self, topology: Topology) -> bool:
        """Whether the move that began with this topology has ended; not by the product's own rule, which may be wrong."""
        newest = self.world.topology
        return newest is None or newest.move_epoch != topology.move_epoch

    async def _next_move(self) -> Topology | None:
        while not self._last:
            if self.world.topology is not None and self.world.topology.moving:
                return self.world.topology
            await self.world.next_moment(0.2)
        return None

    async def _within(self, seconds: float, happened: Callable[[], bool], otherwise: str = "") -> bool:
        """Whether it happens in time; where it does not, and there is something to say, the run has failed."""
        deadline_s = self.world.loop.time() + seconds
        while not happened():
            if self.world.loop.time() >= deadline_s:
                if otherwise:
                    self.world.fail("available", f"{otherwise}, for {seconds:.0f} s")
                return False
            await asyncio.sleep(_LOOK_EVERY_S)
        return True

    def _any(self, bucket_ids: Iterable[int]) -> BucketNode:
        return self.world.buckets[self.world.rng.choice(sorted(bucket_ids))]

    def _any_target(self, topology: Topology) -> BucketNode:
        targets = {home for source in range(topology.bucket_count) for home in possible_homes(topology, source)}
        return self._any(targets)

    def _fill(self, node: BucketNode) -> None:
        node.disk.free = 0
        self.world.note(f"{node.name} has a full disk")


def _expires(node: BucketNode, key: bytes) -> bool:
    """Whether a record does, as far as can be known while it may be damaged."""
    return any(expires_ms(raw) for held, raw in node.disk.held_records() if held == key)


def _cursor(node: BucketNode) -> Cursor | None:
    raw = node.disk.get_fact(CURSOR)
    return None if raw is None else msgspec.msgpack.decode(raw, type=Cursor)


def _has_moved(node: BucketNode, topology: Topology) -> bool:
    """Whether a source has nothing left in the move."""
    cursor = _cursor(node)
    return cursor is not None and cursor.epoch >= topology.epoch and cursor.done
