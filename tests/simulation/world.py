"""The world of one run: buckets and directories as processes on simulated machines, and the control plane that finds them.

Everything inside a process is the product's own code. What Ray does for it (find a bucket, make it, bring it back) is here.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from serve_app.bucket.server import BucketServer
from serve_app.cursor import Cursor
from serve_app.directory.directory import Directory
from serve_app.errors import StorageFault
from serve_app.storage.engine import Changes, EngineFailed
from serve_app.topology import Topology
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.link import BucketFault
from tests.simulation.disk import SimulatedDisk, Volume, new_disk
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.machine import Machine
from tests.simulation.network import Network
from tests.simulation.observer import Observer
from tests.simulation.plan import Plan

_OPEN_S = 0.02
_RESOLVE_S = 0.005


class Window(NamedTuple):
    """Of the keys whose old home is the bucket, those that were moved at one time."""

    topology: Topology
    bucket_id: int
    start: bytes
    end: bytes


class World:
    """All nodes of one run, and what they share."""

    def __init__(self, loop: SimulatedLoop, rng: random.Random, plan: Plan, *, verbose: bool = False) -> None:
        self.loop, self.rng, self.plan = loop, rng, plan
        self._verbose = verbose
        self._digest = blake2b(digest_size=8)
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.network = loop.network = Network(loop, rng, self.trace, plan.weather, self.counts)
        self.observer = Observer(loop.time)
        self.network.on_connect = self.observer.connected
        self.control_plane_away_until_s = 0.0
        self.buckets: dict[int, BucketNode] = {}
        self.directories = [DirectoryNode(self, number) for number in range(plan.directory_count)]
        #: The number of buckets that directories are configured with.
        self.configured_count = plan.bucket_count
        self.changes_left = len(plan.changes)
        #: The newest topology that is on any disk.
        self.topology: Topology | None = None
        self._waiting: list[asyncio.Future[None]] = []
        #: The windows that are being moved, by their buckets, and those that were begun last.
        self.windows: dict[int, Cursor] = {}
        self.last_windows: deque[Window] = deque(maxlen=6)
        #: Called when a window is begun, taken or moved, with the bucket that did so.
        self.on_window: Callable[[str, BucketNode], None] = lambda what, node: None
        #: Called when the store has another topology.
        self.on_topology: Callable[[], None] = lambda: None

    def trace(self, text: str) -> None:
        """Something happened. Two runs of one seed trace the same."""
        self._digest.update(f"{self.loop.time():.9f} {text}\n".encode())

    def note(self, text: str) -> None:
        """Something happened that a reader of the run wants to know."""
        self.trace(text)
        if self._verbose:
            print(f"{self.loop.time():10.4f}  {text}")

    @property
    def digest(self) -> str:
        """What happened so far, in 16 hex digits."""
        return self._digest.hexdigest()

    def start(self) -> None:
        for directory in self.directories:
            directory.start()

    def bucket(self, bucket_id: int) -> BucketNode:
        """The bucket, made if need be, as `get_if_exists` does."""
        node = self.buckets.get(bucket_id)
        if node is None:
            node = self.buckets[bucket_id] = BucketNode(self, bucket_id)
            node.start()
        elif node.retired:
            node.retired = False
            node.start()
        return node

    async def resolve(self, bucket_id: int) -> Endpoint:
        """Implements ControlPlane."""
        loop = self.loop
        await asyncio.sleep(self.rng.random() * 2 * _RESOLVE_S)
        while self.control_plane_away_until_s > loop.time():  # noqa: ASYNC110 - it may be put off meanwhile
            await asyncio.sleep(self.control_plane_away_until_s - loop.time())
        node = self.bucket(bucket_id)
        endpoint, fault = node.endpoint, node.fault
        await asyncio.sleep(self.rng.random() * 2 * _RESOLVE_S)  # the answer may be out of date when it is here
        if fault:
            raise BucketFault(fault)
        if endpoint is None:
            raise ConnectionError(f"bucket-{bucket_id} is not running")
        return endpoint

    def configure(self, bucket_count: int) -> None:
        """Configure all directories anew, one after the other, as a rolling change does."""
        self.note(f"{bucket_count} buckets are configured")
        self.configured_count = bucket_count
        for node in self.directories:
            self.after(self.rng.expovariate(10), node.configure)

    # -- moments: when something happens in which harm is done, or work begins --------------------------------------

    def moment(self) -> None:
        """Now is one."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def next_moment(self, timeout_s: float) -> None:
        """Wait for one, or so long."""
        future: asyncio.Future[None] = self.loop.create_future()
        self._waiting.append(future)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await future

    async def next_move(self, timeout_s: float) -> None:
        """Wait until keys move, or so long; not at all where no change is due."""
        deadline_s = self.loop.time() + timeout_s
        while (topology := self.topology) is not None and not topology.moving:
            due = self.changes_left or topology.bucket_count != self.configured_count
            if not due or self.loop.time() >= deadline_s:
                return
            await self.next_moment(deadline_s - self.loop.time())

    async def next_window(self, timeout_s: float) -> None:
        """Wait until a window is begun, taken or moved, or so long; not at all where no keys move."""
        if self.topology is not None and self.topology.moving:
            await self.next_moment(timeout_s)

    async def settled(self, timeout_s: float) -> None:
        """Wait until the store has as many buckets as are configured, or so long."""
        deadline_s = self.loop.time() + timeout_s
        while self.loop.time() < deadline_s:
            topology = self.topology
            if topology is not None and not topology.moving and topology.bucket_count == self.configured_count:
                return
            await self.next_moment(deadline_s - self.loop.time())

    def stored(self, node: BucketNode, facts: Changes) -> None:
        """A bucket's facts have changed on its disk."""
        changed = {name: value for name, value in facts if value is not None}
        if b"topology" in changed:
            self._stored_topology(node, msgspec.msgpack.decode(changed[b"topology"], type=Topology))
        elif b"cursor" in changed:
            cursor = msgspec.msgpack.decode(changed[b"cursor"], type=Cursor)
            self.note(f"{node.name} {cursor}")
            if cursor.intent_end:
                self.windows[node.bucket_id] = cursor
                assert self.topology is not None
                self.last_windows.append(Window(self.topology, node.bucket_id, cursor.position, cursor.intent_end))
            else:
                self.windows.pop(node.bucket_id, None)
            self._happened("begun" if cursor.intent_end else "moved", node)
        elif b"markers" in changed:
            self.trace(f"{node.name} {changed[b'markers']!r}")
            self._happened("taken", node)

    def _happened(self, what: str, node: BucketNode) -> None:
        self.counts[f"windows {what}"] += 1
        self.moment()
        self.after(0, self.on_window, what, node)

    def _stored_topology(self, node: BucketNode, topology: Topology) -> None:
        if self.topology is None or topology.epoch > self.topology.epoch:
            if topology.moving:
                self.counts["moves begun"] += 1
            elif self.topology is not None:
                self.counts["moves ended"] += 1
            self.topology = topology
            self.windows.clear()
            self.moment()
            self.after(0, self.on_topology)
        self.note(f"{node.name} {topology.epoch}: {topology.bucket_count} -> {topology.target_count}")

    def after(self, seconds: float, callback: Callable[..., None], *args: Any) -> None:
        """Do something later, whatever process is running now."""
        self.loop.call_later(seconds, callback, *args, context=self.loop._outside.context)


class Node:
    """A process that comes and goes under one name."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.process: Process | None = None

    @property
    def up(self) -> bool:
        return self.process is not None

    def start(self) -> None:
        """A new process."""
        if self.process is None:
            self.process = self.world.loop.process(self.name)
            self.world.note(f"{self.name} starts")
            self.world.loop.create_task(self._main(), name=f"{self.name} main", context=self.process.context)

    async def _main(self) -> None:
        raise NotImplementedError

    def crash(self, *, silently: bool = False) -> None:
        """End at once, as kill -9 does; silently, as a machine does that loses its power or its network."""
        process, self.process = self.process, None
        if process is None:
            return
        self.world.note(f"{self.name} crashes{' silently' if silently else ''}")
        self.world.network.bury(process, silently=silently)
        self.world.loop.kill(process)

    def sleep(self, seconds: float) -> None:
        """Stand still for a while."""
        process = self.process
        if process is None or process.asleep:
            return
        self.world.note(f"{self.name} sleeps for {seconds:.3f} s")
        self.world.loop.sleep(process)
        self.world.after(seconds, self._wake, process)

    def _wake(self, process: Process) -> None:
        if process.alive and process.asleep:
            self.world.note(f"{self.name} wakes")
            self.world.loop.wake(process)

    def wake(self) -> None:
        if self.process is not None:
            self._wake(self.process)


class BucketNode(Node):
    """One bucket: its volume, and the process that serves it."""

    def __init__(self, world: World, bucket_id: int) -> None:
        super().__init__(world, f"bucket-{bucket_id}")
        self.bucket_id = bucket_id
        self.disk = self._new_disk()
        #: How slow its machine is when its process starts.
        self.slowness = 1.0
        #: The store has gone on without it, and it has ended: only who looks for it brings it back.
        self.retired = False
        #: The volume itself, while another is in its place.
        self.lost_disk: SimulatedDisk | None = None
        self.server: BucketServer | None = None
        self.machine: Machine | None = None
        self.endpoint: Endpoint | None = None
        self.fault = ""

    async def _main(self) -> None:
        world = self.world
        await asyncio.sleep(world.rng.random() * 2 * _OPEN_S)
        self.machine = Machine(world.loop, world.rng, self.disk, world.plan.speed)
        self.machine.slowness = self.slowness
        self.fault = ""
        try:
            storage = Volume(self.disk, self.bucket_id)
        except StorageFault as fault:
            self.fault = str(fault)
            world.failures.append(f"{self.name} can't open its volume: {fault}")
            return
        self.server = BucketServer(
            storage, world.plan.limits, world.loop, failed=self._storage_failed, platform=self.machine.platform()
        )
        self.endpoint = await self.server.start(self.name)
        self.server.take_part_in_moves(world, jitter=world.rng.random, retired=self._retire)

    def _retire(self) -> None:
        self.world.counts["buckets retired"] += 1
        self.world.note(f"{self.name} retires")
        self.retired = True
        self.crash()

    def _new_disk(self) -> SimulatedDisk:
        disk = new_disk(self.world.rng, self.bucket_id)
        disk.cold_share = self.world.plan.cold_share
        disk.changed = lambda facts: self.world.stored(self, facts)
        return disk

    def _storage_failed(self, error: EngineFailed) -> None:
        if "mistake" in str(error):
            self.world.failures.append(f"{self.name}: {error}")
        self.crash()
        self.world.after(self.world.rng.uniform(0.05, 2.0), self.start)

    def crash(self, *, silently: bool = False) -> None:
        was_up = self.up
        super().crash(silently=silently)
        self.server, self.endpoint = None, None
        if was_up and self.machine is not None:
            self.machine.power_off()
            self.machine = None

    def lose_volume(self) -> None:
        """Come back with an empty one in its place."""
        self.crash()
        if self.lost_disk is None:
            self.lost_disk, self.disk = self.disk, self._new_disk()
            self.world.note(f"{self.name} loses its volume")

    def replace_volume(self) -> None:
        """The store has gone on without this bucket: its volume is deleted for good."""
        if any(self.disk.scan()):
            self.world.failures.append(f"{self.name} has retired with records on its volume")
        self.disk = self._new_disk()
        self.world.note(f"{self.name} gets another volume")

    def find_volume(self) -> None:
        """The volume itself is there again; one that the store has gone on without stays away."""
        topology = self.world.topology
        if self.lost_disk is None:
            return
        if topology is not None and topology.lists(
            self.bucket_id, Volume(self.lost_disk, self.bucket_id).facts.identity
        ):
            self.crash()
            self.disk, self.lost_disk = self.lost_disk, None
            self.disk.settle()
            self.world.note(f"{self.name} has its volume again")
            return
        if any(self.lost_disk.scan()):
            self.world.failures.append(f"the store has gone on without the records on {self.name}'s lost volume")
        self.lost_disk = None


class DirectoryNode(Node):
    """One directory: the process that clients speak to."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(world, f"directory-{number}")
        self.directory: Directory | None = None
        #: Answers that clients wait for.
        self.open_requests: dict[asyncio.Future[Any], None] = {}

    async def _main(self) -> None:
        world = self.world
        identity = f"{self.name}-{world.rng.getrandbits(64):016x}"
        self.directory = Directory(world, world.plan.limits, jitter=world.rng.random, identity=identity)
        self.directory.watch.configure(world.configured_count)
        await self.directory.start()

    def configure(self) -> None:
        """Take the count that is configured now; one that sleeps takes it when it wakes."""
        if self.process is not None:
            self.world.loop.call_soon(self._configure, context=self.process.context)

    def _configure(self) -> None:
        if self.directory is not None:
            self.directory.watch.configure(self.world.configured_count)

    def crash(self, *, silently: bool = False) -> None:
        super().crash(silently=silently)
        self.directory = None
        requests, self.open_requests = self.open_requests, {}
        for answer in requests:
            if not answer.done():
                answer.set_exception(ConnectionResetError("the directory crashed"))
