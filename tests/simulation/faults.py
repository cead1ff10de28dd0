"""What goes wrong in a run, at random times, and its healing at the end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from serve_app.storage.facts import CURSOR
from serve_app.wire import messages
from tests.simulation.clock_faults import ClockFaults
from tests.simulation.nodes import BucketNode, DirectoryNode, Node
from tests.simulation.observer import Sent
from tests.simulation.repeats import repeat
from tests.simulation.world import World

#: How often the sync of a step of a move, or of a topology, meets damage where that is among the faults.
_DAMAGED_SHARE = 0.03
_MAX_COUNT = 6
#: How often a bucket that is about to join loses its volume when it has said who it is.
_LOST_WHEN_ASKED_SHARE = 0.2
#: How often a target starts again when a window has moved, and gets it once more then.
_RESTARTED_TARGET_SHARE = 0.1


class Faults:
    """Does harm until `heal`. Each kind is a method; the plan says which a run knows."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._healed = False
        self._clocks = ClockFaults(world)
        #: Directories that sleep until the topology has changed this many times.
        self._sleepers: list[tuple[DirectoryNode, int]] = []
        #: What the movers have sent, by who sent it.
        self._windows: dict[str, deque[tuple[str, Any]]] = {}
        world.on_window = self._window
        world.on_topology = self._topology
        world.on_lost = self._lost_for_good
        world.on_asked.append(self._asked)
        world.on_facts = self._facts_in_sync
        self._kinds: dict[str, Callable[[], None]] = {
            "break": self._break,
            "cut": self._cut,
            "crash-bucket": self._crash_bucket,
            "crash-directory": self._crash_directory,
            "sleep-directory": self._sleep_directory,
            "sleep-bucket": self._sleep_bucket,
            "slow": self._slow,
            "disk-full": self._disk_full,
            "disk-fails": self._disk_fails,
            "disk-damaged": self._disk_damaged,
            "read-error": self._read_error,
            "power-cut": self._power_cut,
            "volume-lost": self._volume_lost,
            "control-plane-away": self._control_plane_away,
            "clock-steps": self._clock_steps,
        }
        if "repeat" in world.plan.faults:
            world.observer.on_repeatable = self._may_repeat

    async def run(self) -> None:
        """One after the other, for as long as nobody cancels. Each is counted when it happens; some never do."""
        plan, rng = self.world.plan, self.world.rng
        kinds = sorted(kind for kind in plan.faults if kind in self._kinds)
        while kinds:
            await asyncio.sleep(rng.expovariate(1 / plan.fault_every_s))
            if rng.random() < 0.5:  # most harm is done while clients are at work and keys are moved
                await self.world.next_moment(2.0)
                await asyncio.sleep(rng.expovariate(rng.choice((20, 500))))
            kind = rng.choice(kinds)
            self._kinds[kind]()

    def heal(self) -> None:
        """Nothing is wrong any more, and nothing more goes wrong."""
        world = self.world
        world.note("all is healed")
        self._healed = self._clocks.stopped = True
        world.control_plane_away_until_s = 0.0
        world.network.heal()
        for node in [*world.buckets.values(), *world.directories]:
            node.wake()
            if isinstance(node, BucketNode):
                node.find_volume()
                node.disk.free = 1 << 40
                node.slowness = 1.0
                node.disk.fails_in, node.disk.damaged_next = None, False
                node.disk.unreadable.clear()
                if node.server is not None and node.server.bucket.last_error:
                    node.crash()  # an operator's part: it has met damage, and is started again
                if node.machine is not None:
                    node.machine.slowness = 1.0
                if node.retired:
                    continue
            node.start()

    # -- kinds -------------------------------------------------------------------------------------------------------

    def _later(self, seconds: float, callback: Callable[..., None], *args: Any) -> None:
        self.world.after(seconds, lambda: None if self._healed else callback(*args))

    def _duration_s(self, longest_s: float) -> float:
        """Mostly short, now and then long."""
        return float(longest_s * self.world.rng.random() ** 4 + 0.01)

    def _any_bucket(self) -> BucketNode | None:
        return self.world.rng.choice(list(self.world.buckets.values())) if self.world.buckets else None

    def _any_node(self) -> Node:
        return self.world.rng.choice([*self.world.buckets.values(), *self.world.directories])

    def _break(self) -> None:
        connections = self.world.network.open_connections()
        if connections:
            self.world.met("break")
            self.world.rng.choice(connections).break_off()

    def _cut(self) -> None:
        names = {self._any_node().name}
        if self.world.rng.random() < 0.7:
            names.add(self._any_node().name)
        seconds = self._duration_s(5.0)
        self.world.met("cut")
        self.world.note(f"cut {sorted(names)} for {seconds:.3f} s")
        self.world.network.cut(frozenset(names), self.world.loop.time() + seconds)

    def _crash_bucket(self) -> None:
        """At once, or in the middle of one of its next syncs."""
        bucket = self._any_bucket()
        if bucket is not None and bucket.machine is not None and self.world.rng.random() < 0.5:
            bucket.machine.in_sync = (self.world.rng.randrange(6), lambda: self._crash(bucket, "crash-bucket"))
        else:
            self._crash(bucket, "crash-bucket")

    def _window(self, what: str, node: BucketNode) -> None:
        """A bucket has begun to move a window, has taken one, or has moved one."""
        world, rng = self.world, self.world.rng
        if what == "moved" and rng.random() < 0.5:
            for bucket, message in self._windows.pop(node.name, ()):
                self._later(rng.expovariate(10), repeat, self.world, node.name, bucket, message)
        if self._healed:
            return
        if what == "moved" and "crash-in-window" in world.plan.faults and rng.random() < _RESTARTED_TARGET_SHARE:
            self._come_late_to_a_restarted_target(node)
        if what == "begun" and "read-error" in world.plan.faults and rng.random() < 0.6:
            self._damage(node, world.windows[node.bucket_id].in_window)
        if "crash-in-window" not in world.plan.faults:
            return
        if rng.random() > world.plan.crash_in_window_share:
            return
        sources = [world.buckets[bucket_id] for bucket_id in world.windows]
        victim = rng.choice([node, *sources, *sources])
        if victim.machine is not None and rng.random() < 0.5:
            victim.machine.in_sync = (0, lambda: self._crash_shortly(victim))
        else:
            self._later(rng.random() * 2 * world.plan.speed.sync_s, self._crash_shortly, victim)
        if what == "taken" and victim is not node and rng.random() < 0.5:  # the source comes back, and has to wait
            self._later(rng.expovariate(5), self._crash_shortly, node)

    def _come_late_to_a_restarted_target(self, node: BucketNode) -> None:
        """What the source sent last comes once more when its target has started again and has been written to."""
        rng = self.world.rng
        sent = self._windows.pop(node.name, None)
        if not sent:
            return
        target = sent[-1][0]
        victim = next((other for other in self.world.buckets.values() if other.name == target), None)
        if victim is not None and victim.up:
            self.world.counts["windows late to a restarted target"] += 1
            self._later(rng.expovariate(20), self._restart, victim)
            for bucket, message in sent:
                if bucket == target:
                    self._later(0.3 + rng.expovariate(2), repeat, self.world, node.name, bucket, message)

    def _facts_in_sync(self, node: BucketNode, facts: Collection[bytes]) -> None:
        """A bucket has decided a step of its move, or to take on a topology, which is durable in a moment, or not."""
        plan, rng = self.world.plan, self.world.rng
        if self._healed or node.machine is None:
            return
        if self._clocks.in_sync(node, facts) and "crash-bucket" in plan.faults and rng.random() < 0.5:
            node.machine.in_sync = (0, lambda: self._crash(node, "crash-bucket"))
        if CURSOR not in facts:
            return
        if "crash-in-window" in plan.faults and rng.random() < plan.crash_in_window_share / 2:
            node.machine.in_sync = (0, lambda: self._crash_shortly(node))
        if "disk-damaged" in plan.faults and rng.random() < _DAMAGED_SHARE:
            self._damage_next_sync(node)

    def _crash_shortly(self, node: BucketNode) -> None:
        """It comes back soon: slowly, or where its peers can't be reached for a while, or none of that."""
        world, rng = self.world, self.world.rng
        if not node.up or self._healed:
            return
        world.met("crash-in-window")
        node.crash()
        node.slowness = rng.choice((1.0, 1.0, 10.0))
        back_s = rng.expovariate(rng.choice((20, 3)))
        self._later(back_s, node.start)
        self._later(back_s + rng.expovariate(2), self._fast_again, node)
        if rng.random() < 0.5:
            until_s = world.loop.time() + back_s + rng.expovariate(2)
            for other in world.buckets.values():
                if other is not node:
                    world.network.cut(frozenset((node.name, other.name)), until_s)

    def _fast_again(self, node: BucketNode) -> None:
        node.slowness = 1.0
        if node.machine is not None:
            node.machine.slowness = 1.0

    def _crash_directory(self) -> None:
        self._crash(self.world.rng.choice(self.world.directories), "crash-directory")

    def _power_cut(self) -> None:
        """Of everything at once; it comes back one by one."""
        self.world.met("power-cut")
        for node in [*self.world.buckets.values(), *self.world.directories]:
            self._crash(node)
        if self.world.rng.random() < 0.3:
            self._start_otherwise()

    def _start_otherwise(self) -> None:
        """It is started with another bucket_count, and perhaps without the volume of the authority."""
        world, rng = self.world, self.world.rng
        authority = world.buckets.get(0)
        if authority is not None and "volume-lost" in world.plan.faults and self._may_lose(authority):
            self._lose_volume(authority)
        world.counts["started with another count"] += 1
        world.configure(rng.randint(1, min(_MAX_COUNT, len(world.buckets) + 1)))

    def _crash(self, node: Node | None, kind: str = "") -> None:
        if node is not None and node.up and not self._healed:
            if kind:
                self.world.met(kind)
            node.crash(silently=self.world.rng.random() < 0.15)
            self._later(self._duration_s(3.0), node.start)

    def _sleep_directory(self) -> None:
        rng, directory = self.world.rng, self.world.rng.choice(self.world.directories)
        if directory.process is None or directory.process.asleep:
            return
        self.world.met("sleep-directory")
        if rng.random() < 0.5:
            directory.sleep(self._duration_s(10.0))
        else:
            directory.sleep(10.0)
            self._sleepers.append((directory, rng.choice((1, 2, 3, 4, 4))))

    def _topology(self) -> None:
        """The topology has changed: who has waited long enough wakes soon, with what was true then."""
        for directory, changes in self._sleepers:
            if changes == 1:
                self.world.after(self.world.rng.expovariate(10), directory.wake)
        self._sleepers = [(directory, changes - 1) for directory, changes in self._sleepers if changes > 1]

    def _sleep_bucket(self) -> None:
        bucket = self._any_bucket()
        if bucket is not None and bucket.process is not None and not bucket.process.asleep:
            self.world.met("sleep-bucket")
            bucket.sleep(self._duration_s(3.0))

    def _slow(self) -> None:
        node, factor, seconds = self._any_node(), self.world.rng.uniform(2, 50), self._duration_s(6.0)
        self.world.met("slow")
        self.world.note(f"{node.name} is slow by {factor:.1f} for {seconds:.3f} s")
        self.world.network.slowness[node.name] = factor
        machine = node.machine if isinstance(node, BucketNode) else None
        if machine is not None:
            machine.slowness = min(factor, 10.0)

        def fast_again() -> None:
            self.world.network.slowness.pop(node.name, None)
            if machine is not None:
                machine.slowness = 1.0

        self._later(seconds, fast_again)

    def _disk_full(self) -> None:
        bucket = self._any_bucket()
        if bucket is None:
            return
        disk = bucket.disk
        disk.free = 0
        self.world.note(f"{bucket.name} has a full disk")

        def room() -> None:
            disk.free = 1 << 40

        self._later(self._duration_s(3.0), room)

    def _disk_fails(self) -> None:
        bucket = self._any_bucket()
        if bucket is not None:
            bucket.disk.fails_in = self.world.rng.randrange(6)
            self.world.note(f"{bucket.name}: a sync soon fails")

    def _read_error(self) -> None:
        bucket = self._any_bucket()
        if bucket is not None:
            self._damage(bucket, lambda key: True)

    def _damage(self, bucket: BucketNode, chosen: Callable[[bytes], bool]) -> None:
        """One record can't be read for a while."""
        disk = bucket.disk
        keys = [key for key in disk.held_keys() if chosen(key)]
        if keys:
            key = self.world.rng.choice(keys)
            disk.unreadable.add(key)
            self.world.note(f"{bucket.name}: {key!r} can't be read")
            self._later(self._duration_s(3.0), disk.unreadable.discard, key)

    def _disk_damaged(self) -> None:
        bucket = self._any_bucket()
        if bucket is not None and self.world.rng.random() < 0.2:
            self._damage_next_sync(bucket)

    def _damage_next_sync(self, bucket: BucketNode) -> None:
        bucket.disk.damaged_next = True
        self.world.note(f"{bucket.name}: the next sync meets damage")
        self._later(self._duration_s(3.0), self._restart, bucket)

    def _restart(self, bucket: BucketNode) -> None:
        bucket.crash()
        bucket.start()

    def _volume_lost(self) -> None:
        """One at a time, and never the only one: nobody could tell an empty volume from a new store then."""
        bucket = self._any_bucket()
        if bucket is None or not self._may_lose(bucket) or self.world.rng.random() < 0.5:
            return
        topology = self.world.topology
        if topology is not None and bucket.bucket_id >= len(topology.identities) and bucket.retired:
            # When it has ended nobody relies on it, and what comes back may be another volume.
            self.world.met("volume-lost")
            bucket.replace_volume()
            return
        self._lose_volume(bucket)

    def _may_lose(self, bucket: BucketNode) -> bool:
        lost = any(node.lost_disk is not None for node in self.world.buckets.values())
        return not lost and self.world.has_company(bucket)

    def _lose_volume(self, bucket: BucketNode) -> None:
        self.world.met("volume-lost")
        bucket.lose_volume()
        self._later(self._duration_s(1.0), bucket.start)
        self._later(self._duration_s(6.0) + 1.0, self._find_volume, bucket)

    def _asked(self, bucket: BucketNode) -> None:
        """It is about to join as the storage that it has: a moment later it may be another one."""
        if (
            "volume-lost" not in self.world.plan.faults
            or self._healed
            or self.world.rng.random() > _LOST_WHEN_ASKED_SHARE
        ):
            return
        if self._may_lose(bucket):
            self.world.counts["lost when asked"] += 1
            self._lose_volume(bucket)

    def _lost_for_good(self, lost: BucketNode) -> None:
        """Until an operator has accepted it the others wait, and some of them start again: from what is on their disks."""
        for node in self.world.buckets.values():
            if node is not lost and self.world.rng.random() < self.world.plan.restarts_at_losses:
                self._later(self.world.rng.random() * 0.2, self._restart, node)

    def _find_volume(self, bucket: BucketNode) -> None:
        bucket.find_volume()
        bucket.start()

    def _control_plane_away(self) -> None:
        seconds = self._duration_s(6.0)
        self.world.met("control-plane-away")
        self.world.note(f"the control plane is away for {seconds:.3f} s")
        self.world.control_plane_away_until_s = self.world.loop.time() + seconds

    def _clock_steps(self) -> None:
        bucket = self._any_bucket()
        if bucket is not None:
            self._clocks.step(bucket)

    # -- messages that come again --------------------------------------------------------------------------------------

    def _may_repeat(self, sender: str, bucket: str, message: Sent) -> None:
        rng = self.world.rng
        if isinstance(message.body, messages.Window):
            self._windows.setdefault(sender, deque(maxlen=6)).append((bucket, message))
        if self._healed or rng.random() > 0.7:
            return
        for _ in range(rng.randint(1, 2)):
            self.world.after(self._duration_s(8.0), repeat, self.world, sender, bucket, message)
        if rng.random() < 0.2:  # the message itself may not arrive: late it is then, and not repeated
            for transport in self.world.network.open_connections():
                if (transport.process.name, transport.peer.process.name) == (sender, bucket):
                    transport.break_off()
