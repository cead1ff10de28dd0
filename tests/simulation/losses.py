"""Volumes that are lost for good, and the operator who goes on without them: `accept-loss`, by the command's own code.

The operator is a process of its own in the simulated network. A volume that was given up may come back, years later as it
were: when its bucket had left the store and is to join again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from serve_app.cli.buckets import Buckets
from serve_app.cli.loss import accept, find_loss
from serve_app.command_output.failure import Failure
from serve_app.cursor import possible_homes
from serve_app.storage.facts import MARKERS
from serve_app.topology import Topology
from serve_app.wire.connection import NO_ANSWER
from tests.simulation.finder import Finder
from tests.simulation.nodes import BucketNode
from tests.simulation.plan import Loss
from tests.simulation.world import World

#: How long a loss waits for the moment that it is meant for.
_MOMENT_WITHIN_S = 10.0
_TRY_AGAIN_S = 1.0
#: Who was asked when is forgotten by the coordinator after this.
_JOINS_WITHIN_S = 6.0
_FIND_TIMEOUT_S = 0.5


@dataclass
class LostVolume:
    """What is given up: the records that a bucket had then, and that were on no other disk.

    topology: the store's newest at that time. identity: of the volume. only_there: keys whose records are lost with it.
    elsewhere: keys whose records were on other disks too, and on which: a source that has not heard of the loss yet may
    delete what the lost target has acknowledged, and must not once the store has gone on without that.
    """

    bucket_id: int
    topology: Topology
    identity: str
    at_s: float
    only_there: set[bytes]
    elsewhere: dict[bytes, set[int]]
    #: The epoch with which the store went on without it; 0 until then.
    accepted_epoch: int = 0

    def advanced(self, bucket_id: int, held: Collection[bytes], epoch: int) -> None:
        """A bucket has made a step of its move durable, of this epoch. held: the keys that its disk still holds."""
        in_time = not self.accepted_epoch or epoch < self.accepted_epoch
        for key, holders in list(self.elsewhere.items()):
            if bucket_id in holders and key not in held:
                holders.discard(bucket_id)
                if not holders:
                    del self.elsewhere[key]
                    if in_time:
                        self.only_there.add(key)

    def went_on(self, topology: Topology, left_out: Iterable[bytes]) -> None:
        """A topology has been stored. left_out: the keys on disks that it does not count on: where bucket 0 is lost, it may
        have been about to let others join, and nobody else knows of that."""
        listed = topology.identities[self.bucket_id : self.bucket_id + 1]
        if self.accepted_epoch or topology.epoch <= self.topology.epoch or listed in ((), (self.identity,)):
            return
        self.accepted_epoch = topology.epoch
        if self.bucket_id == 0 and self.topology.majority == 1:
            self.only_there.update(left_out)


def lost_volume(world: World, node: BucketNode) -> LostVolume:
    """What is lost with the volume that a bucket has now."""
    assert world.topology is not None
    elsewhere: dict[bytes, set[int]] = {}
    keys = set(node.disk.held_keys())
    for other in world.buckets.values():
        for disk in (other.disk, other.lost_disk):
            if other is not node and disk is not None:
                for key in keys.intersection(disk.held_keys()):
                    elsewhere.setdefault(key, set()).add(other.bucket_id)
    only_there = keys - elsewhere.keys()
    return LostVolume(node.bucket_id, world.topology, node.identity, world.loop.time(), only_there, elsewhere)


class Losses:
    """Loses volumes as planned, one after the other, and has each loss accepted."""

    def __init__(self, world: World) -> None:
        self.world = world
        #: The storages that the store was told to go on with.
        self._went_on_with: dict[BucketNode, str] = {}

    async def run(self) -> None:
        """For as long as nobody cancels. A loss that has happened is accepted all the same."""
        for loss in self.world.plan.losses:
            await asyncio.sleep(loss.after_s)
            node = await self._victim(loss)
            if node is None:
                continue
            self._lose(node, loss)
            while node.loss_pending:  # noqa: ASYNC110 - one loss at a time
                await asyncio.sleep(0.1)

    async def _victim(self, loss: Loss) -> BucketNode | None:
        """The bucket that is meant, waited for."""
        world = self.world
        deadline_s = world.loop.time() + _MOMENT_WITHIN_S
        while world.loop.time() < deadline_s:
            topology = world.topology
            if loss.who == "asked":
                if (asked := await self._asked(deadline_s - world.loop.time())) is not None:
                    return asked
                continue
            if topology is not None and not any(node.lost_disk for node in world.buckets.values()):
                meant = self._takers() if loss.who == "taker" else _meant(loss.who, topology)
                found = [node for bucket_id in meant if (node := self._fits(loss.who, bucket_id))]
                if found:
                    if loss.who == "taker":  # its acknowledgement is to arrive
                        await asyncio.sleep(world.rng.uniform(0.02, 0.3))
                    return world.rng.choice(found)
            await world.next_moment(0.5)
            if loss.who not in ("stable", "joined-in-vain", "taker"):
                await asyncio.sleep(world.rng.expovariate(world.rng.choice((500, 20))))
        return None

    def _takers(self) -> list[int]:
        """The bucket that has taken a window last, where it got records that their source has still; another target of that
        window is cut off for a while."""
        world, taker = self.world, self.world.last_taker
        assert world.topology is not None
        if taker is None or not taker.bucket_id or not world.topology.moving:
            return []
        taken = taker.disk.held_keys()
        sources = [who for who, cursor in sorted(world.windows.items()) if any(map(cursor.in_window, taken))]
        if not sources or taker.bucket_id in sources:
            return []
        others = set(possible_homes(world.topology, world.rng.choice(sources))) - {0, taker.bucket_id}
        for other in sorted(others & world.buckets.keys()):
            until_s = world.loop.time() + world.rng.uniform(2, 5) * _FIND_TIMEOUT_S
            world.network.cut(frozenset((f"bucket-{other}",)), until_s)
        return [taker.bucket_id]

    async def _asked(self, timeout_s: float) -> BucketNode | None:
        """A bucket that has just been asked who it is, since it is to join; waited for at most this long."""
        world = self.world
        asked: asyncio.Future[BucketNode] = world.loop.create_future()

        def note(node: BucketNode) -> None:
            if (
                not asked.done()
                and world.has_company(node)
                and not any(each.lost_disk for each in world.buckets.values())
            ):
                asked.set_result(node)

        world.on_asked.append(note)
        try:
            async with asyncio.timeout(timeout_s):
                return await asked
        except TimeoutError:
            return None
        finally:
            world.on_asked.remove(note)

    def _fits(self, who: str, bucket_id: int) -> BucketNode | None:
        node = self.world.buckets.get(bucket_id)
        if node is None or not self.world.has_company(node):
            return None
        if who == "joined-in-vain" and (node.disk.get_fact(MARKERS) in (None, b"\x80") or node.disk.held_keys()):
            return None
        return node

    def _lose(self, node: BucketNode, loss: Loss) -> None:
        world, rng = self.world, self.world.rng
        assert world.topology is not None
        moving = "moving" if world.topology.moving else "stable"
        world.note(f"{node.name} loses its volume for good ({loss.who}, {moving})")
        world.lost_volumes.append(lost_volume(world, node))
        node.lose_volume(for_good=True)
        world.after(rng.expovariate(10), node.start)
        process = world.loop.process("operator")
        delay_s = rng.expovariate(1 / loss.accepted_after_s)
        accepting = self._accept(node, delay_s, again=loss.again)
        world.loop.create_task(accepting, name="operator", context=process.context)

    async def _accept(self, node: BucketNode, delay_s: float, *, again: bool) -> None:
        world = self.world
        await asyncio.sleep(delay_s)
        await self._may_join(node)
        lost_again = asyncio.create_task(self._lose_again(node)) if again else None
        await self._go_on_without(node)
        if lost_again is not None:
            await lost_again
            await self._go_on_without(node)
        assert world.topology is not None
        if node.bucket_id < len(world.topology.identities):
            world.met("accept-loss")
            self._went_on_with[node] = node.identity
        # With bucket 0 it may be forgotten that a loss was accepted, where nobody else had heard of it.
        for other, identity in self._went_on_with.items():
            if other.identity == identity:
                await self._go_on_without(other)
        node.give_up_lost_volume()

    async def _lose_again(self, node: BucketNode) -> None:
        """Lose what is in the lost volume's place as well, once the store has gone on with that: perhaps before anybody else
        has heard."""
        world, rng = self.world, self.world.rng
        while not self._accepted(node):
            await world.next_moment(0.5)
        assert world.topology is not None
        if node.bucket_id >= len(world.topology.identities) or not world.has_company(node):
            return
        if rng.random() < 0.7:
            until_s = world.loop.time() + rng.uniform(0.1, 1.5)
            for other in world.buckets.values():
                if other is not node:
                    world.network.cut(frozenset((other.name,)), until_s)
        await asyncio.sleep(rng.choice((0.0, rng.expovariate(50), rng.random())))
        world.counts["volumes lost again"] += 1
        world.note(f"{node.name} loses the volume in its place, too")
        world.lost_volumes.append(lost_volume(world, node))
        node.take_new_volume()

    async def _may_join(self, node: BucketNode) -> None:
        """It was asked who it is: wait until it is listed with the volume that it had then, or is not going to be."""
        deadline_s = self.world.loop.time() + _JOINS_WITHIN_S
        while self.world.loop.time() < deadline_s:
            assert self.world.topology is not None
            if node.bucket_id < len(self.world.topology.identities):
                return
            await self.world.next_moment(deadline_s - self.world.loop.time())

    async def _go_on_without(self, node: BucketNode) -> None:
        """Try again until the store goes on without the volume that the bucket had."""
        world = self.world
        while not self._accepted(node):
            buckets = Buckets(Finder(world), _FIND_TIMEOUT_S)
            try:
                topology, _ = await accept(buckets, await find_loss(buckets, node.bucket_id), world.now_us)
                world.note(f"the loss of {node.name}'s volume is accepted: {topology}")
            except (Failure, *NO_ANSWER) as error:
                world.note(f"the loss of {node.name}'s volume is not accepted yet: {error}")
                if "is not a new one" in str(error):
                    node.take_new_volume()  # it was told of the store, by a message that came late
                await asyncio.sleep(world.rng.random() * _TRY_AGAIN_S)
            # No `async with`, which would wait where the run ends and whatever is left is cleaned up.
            await buckets.__aexit__(None, None, None)

    def _accepted(self, node: BucketNode) -> bool:
        """Whether the store goes on without the lost volume, or needs the bucket no more."""
        topology = self.world.topology
        assert topology is not None
        return node.bucket_id >= len(topology.identities) or topology.lists(node.bucket_id, node.identity)


def _meant(who: str, topology: Topology) -> list[int]:
    """The buckets that play this part."""
    old, new = topology.bucket_count, topology.target_count
    if who == "stable":
        return [] if topology.moving else list(range(old))
    if who == "zero":
        return [0]
    if who in ("joining", "joined-in-vain"):
        return list(range(old, new))
    if who == "leaving":
        return list(range(new, old))
    if who == "staying":
        return list(range(min(old, new))) if topology.moving else []
    return list(range(len(topology.identities)))
