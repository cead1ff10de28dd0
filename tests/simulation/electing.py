"""Who decides what topology follows, in runs with several acceptors: they are named anew all the time, by proposals of any
bucket, beside those of moves and of accepted losses; and what acceptors say is held against what they have said."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import msgspec

from serve_app.ballots import Ballot, Vote
from serve_app.errors import StoreError
from serve_app.storage.engine import Changes
from serve_app.storage.facts import VOTE
from serve_app.topology import Topology
from serve_app.wire.voting import Accept
from tests.simulation.nodes import BucketNode
from tests.simulation.observer import Sent
from tests.simulation.plan import Plan
from tests.simulation.repeats import repeat
from tests.simulation.world import World


def with_several_acceptors(rng: random.Random, plan: Plan) -> Plan:
    """The plan with acceptors that are named anew all the time; a trial stays as it is, for its time is taken."""
    if plan.trial:
        return plan
    # With a bucket more, so that most often there are three.
    changes = tuple(replace(change, bucket_count=change.bucket_count + 1) for change in plan.changes)
    every_s = rng.choice((0.1, 0.3, 1.0))
    return replace(plan, bucket_count=plan.bucket_count + 1, changes=changes, elections_every_s=every_s)


class Electing:
    """Names acceptors as long as nobody cancels, and has them crash when they have voted."""

    def __init__(self, world: World) -> None:
        """Made once the world's other faults are, which are told of what is being synced, too."""
        self.world = world
        self._tell_others = world.on_facts
        world.on_facts = self._in_sync
        self._hand_on = world.observer.on_message
        world.observer.on_message = self._message
        self._ended = False
        #: How often that befalls one that is about to vote.
        self._crash_share = world.rng.choice((0.0, 0.02, 0.1))

    def stop(self) -> None:
        """Nothing more goes wrong."""
        self._ended = True

    async def run(self) -> None:
        world, rng = self.world, self.world.rng
        while True:
            await asyncio.sleep(rng.expovariate(1 / world.plan.elections_every_s))
            if rng.random() < 0.3:
                await world.next_moment(1.0)
            for _ in range(rng.choice((1, 1, 2, 3))):  # who propose at once get into each other's way
                self._propose()

    def _message(self, sender: str, receiver: str, message: Any) -> None:
        """A proposer that has just asked for a vote may crash, propose something else when it is back, and be late with what
        it asked for."""
        self._hand_on(sender, receiver, message)
        world, rng = self.world, self.world.rng
        if not isinstance(message, Accept) or self._ended or rng.random() >= self._crash_share:
            return
        node = next((node for node in world.buckets.values() if node.name == sender), None)
        if node is None or not node.up:
            return
        world.counts["proposers crashed"] += 1
        world.after(rng.expovariate(100), self._crash, node)
        for _ in range(3):
            world.after(0.1 + rng.expovariate(5), self._propose, node)
            world.after(0.1 + rng.expovariate(5), self._come_late, sender, receiver, Sent(message, 0))

    def _come_late(self, sender: str, receiver: str, sent: Sent) -> None:
        if not self._ended:
            repeat(self.world, sender, receiver, sent)

    def _in_sync(self, node: BucketNode, names: Collection[bytes]) -> None:
        """A bucket has decided facts with these names, which are durable in a moment, or not."""
        self._tell_others(node, names)
        world, rng = self.world, self.world.rng
        if VOTE not in names or self._ended or node.machine is None or rng.random() >= self._crash_share:
            return
        if rng.random() < 0.3:
            node.machine.in_sync = (0, lambda: self._crash(node))
        else:
            world.after(rng.expovariate(20), self._crash, node)

    def _crash(self, node: BucketNode) -> None:
        """It is back soon; meanwhile another one, which may have voted as it has, can't be reached."""
        world, rng = self.world, self.world.rng
        if not node.up or self._ended:
            return
        world.counts["acceptors crashed"] += 1
        node.crash()
        back_s = rng.expovariate(10)
        world.after(back_s, node.start)
        if rng.random() < 0.5:
            other = rng.choice(list(world.buckets.values()))
            world.network.cut(frozenset((other.name,)), world.loop.time() + back_s + rng.expovariate(2))

    def _propose(self, node: BucketNode | None = None) -> None:
        """Have one bucket of the store, or this one, propose other acceptors, under whatever topology it knows."""
        world, rng = self.world, self.world.rng
        able = [node for node in world.buckets.values() if node.server is not None and node.process is not None]
        node = node or (rng.choice(able) if able else None)
        if node not in able or self._ended:
            return
        assert node is not None
        process, server = node.process, node.server
        assert process is not None
        assert server is not None
        assert server.proposer is not None
        proposer, topology = server.proposer, server.bucket.standing.topology
        if topology is None or server.bucket.standing.fault or not topology.lists(node.bucket_id, node.identity):
            return
        several = rng.choice([count for count in (0, 3, 3, 3, 5) if count <= len(topology.identities)])
        new = topology.name_acceptors(tuple(rng.sample(range(len(topology.identities)), several)))

        async def propose() -> None:
            try:
                await proposer.decide(topology, new)
            except StoreError as error:
                world.note(f"{node.name} does not get epoch {new.epoch} decided: {error}")
                world.counts["proposals without success"] += 1
            else:
                world.counts["acceptors named"] += 1

        world.loop.create_task(propose(), name=f"{node.name} proposes", context=process.context.copy())


class Votes:
    """Holds what acceptors say, as it becomes durable, against what they and others have said."""

    def __init__(self, world: World) -> None:
        self.world = world
        #: By storage and epoch: the highest ballot that was promised.
        self._promised: dict[tuple[str, int], Ballot] = {}
        #: By store, epoch and ballot: what was accepted, and by whom.
        self._accepted: dict[tuple[str, int, Ballot], tuple[Topology, set[str]]] = {}

    def stored(self, node: BucketNode, facts: Changes) -> None:
        """A bucket's facts have changed on its disk."""
        for name, raw in facts:
            if name == VOTE and raw is not None:
                self._check(node, msgspec.msgpack.decode(raw, type=Vote))

    def _check(self, node: BucketNode, vote: Vote) -> None:
        world, identity = self.world, node.identity
        world.counts["votes"] += 1
        before = self._promised.get((identity, vote.epoch), vote.promised)
        if vote.promised < before:
            world.fail("votes", f"{node.name} has promised {before}, and now {vote.promised}")
        self._promised[identity, vote.epoch] = vote.promised
        if vote.accepted is None or vote.value is None:
            return
        named = (vote.value.store_id, vote.epoch, vote.accepted)
        value, storages = self._accepted.setdefault(named, (vote.value, set()))
        if value != vote.value:
            world.fail("votes", f"{vote.accepted} stands for {value}, and at {node.name} for {vote.value}")
        storages.add(identity)
        world.accepted(vote.epoch, value, storages)
