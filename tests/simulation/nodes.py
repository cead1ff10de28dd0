"""The processes of one run: buckets and directories that come and go, and the volumes that outlive them.

Everything inside a process is the product's own code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from serve_app.bucket.bucket import Bucket
from serve_app.bucket.server import BucketServer
from serve_app.bucket.standing import Standing
from serve_app.cursor import Cursor, Marker
from serve_app.directory.directory import Directory
from serve_app.errors import StorageFault, StoreError
from serve_app.storage.engine import EngineFailed
from serve_app.storage.facts import IDENTITY, MARKERS, read_bucket_facts
from serve_app.topology import Topology
from serve_app.wire.endpoint import Endpoint
from tests.simulation.clocks import WallClock
from tests.simulation.disk import SimulatedDisk, Volume, new_disk
from tests.simulation.following import Follower
from tests.simulation.loop import Process
from tests.simulation.machine import Machine
from tests.simulation.preempted import preempt

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
_OPEN_S = 0.02
_LOOK_AGAIN_S = 1.0
_Position = tuple[Topology | None, Cursor | None]


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
        off_ms = world.plan.clocks_off_ms
        self.clock = WallClock(world.loop.time, world.rng.randint(-off_ms, off_ms))
        #: How slow its machine is when its process starts.
        self.slowness = 1.0
        #: The store has gone on without it, and it has ended: only who looks for it brings it back.
        self.retired = False
        #: The volume itself, while another is in its place; and whether an operator is to go on without it.
        self.lost_disk: SimulatedDisk | None = None
        self.loss_pending = False
        #: A volume that the store has gone on without.
        self.old_disk: SimulatedDisk | None = None
        self.server: BucketServer | None = None
        self.machine: Machine | None = None
        self.endpoint: Endpoint | None = None
        self.fault = ""

    async def _main(self) -> None:
        world = self.world
        await asyncio.sleep(world.rng.random() * 2 * _OPEN_S)
        self.machine = Machine(world.loop, world.rng, self.disk, world.plan.speed, self.clock)
        self.machine.slowness = self.slowness
        self.machine.on_facts = lambda names: world.on_facts(self, names)
        self.fault = ""
        try:
            storage = Volume(self.disk, self.bucket_id)
        except StorageFault as fault:
            self.fault = str(fault)
            world.fail("surprise", f"{self.name} can't open its volume: {fault}")
            return
        self.server = BucketServer(
            storage, world.plan.limits, world.loop, failed=self._storage_failed, platform=self.machine.platform()
        )
        preempt(self.server.bucket)
        self.server.bucket.siblings = world.siblings(self)
        self.server.subscribe(Follower(self.name, self.disk, world.fail).take)
        self._check_what_it_starts_with(self.server.bucket)
        self._check_what_is_served(self.server.bucket)
        self.endpoint = await self.server.start(self.name)
        self.server.take_part_in_moves(world, jitter=world.rng.random, retired=self._retire)

    def start(self) -> None:
        if not self.retired:
            super().start()

    def _check_what_it_starts_with(self, bucket: Bucket) -> None:
        """All that its disk holds of its part in a move; looked at without the product's own reading."""
        raw = self.disk.get_fact(MARKERS)
        markers = {} if raw is None else msgspec.msgpack.decode(raw, type=dict[int, Marker])
        known = bucket.state.standing.markers
        if known != markers:
            self.world.fail("served", f"{self.name} starts with {known}; its disk holds {markers}")

    def _check_what_is_served(self, bucket: Bucket) -> None:
        """Whenever it installs a topology, or a cursor moves, its disk must hold it: a restart must not take it away."""
        serve_by = bucket.serve_by

        def checking(standing: Standing, *, whole: bool = True) -> bool:
            before = bucket.standing
            changed = serve_by(standing, whole=whole)
            now = bucket.standing
            if now.topology is not None and (now.topology, now.cursor) != (before.topology, before.cursor):
                stored = read_bucket_facts(self.disk.get_fact, self.name)
                if not _is_held((now.topology, now.cursor), (stored.topology, stored.cursor)):
                    self.world.fail("served", f"{self.name} serves by {now}; its disk holds {stored}")
            return changed

        bucket.serve_by = checking  # type: ignore[method-assign]

    def _retire(self) -> None:
        self.world.counts["buckets retired"] += 1
        self.world.note(f"{self.name} retires")
        self.retired = True
        self.crash()

    def _new_disk(self) -> SimulatedDisk:
        disk = new_disk(self.world.rng, self.bucket_id)
        disk.cold_share = self.world.plan.cold_share
        disk.changed = lambda facts: self.world.stored(self, facts)
        disk.happened = self.world.met
        return disk

    def _storage_failed(self, error: EngineFailed) -> None:
        if "mistake" in str(error):
            self.world.fail("surprise", f"{self.name}: {error}")
        self.crash()
        self.world.after(self.world.rng.uniform(0.05, 2.0), self.start)

    def crash(self, *, silently: bool = False) -> None:
        was_up = self.up
        super().crash(silently=silently)
        self.server, self.endpoint = None, None
        if was_up and self.machine is not None:
            self.machine.power_off()
            self.machine = None

    @property
    def identity(self) -> str:
        """Of the volume that it has now."""
        return (self.disk.get_fact(IDENTITY) or b"").decode()

    def lose_volume(self, *, for_good: bool = False) -> None:
        """Come back with an empty one in its place."""
        self.crash()
        if self.lost_disk is None:
            self.lost_disk, self.disk = self.disk, self._new_disk()
            self.loss_pending = for_good
            self.world.note(f"{self.name} loses its volume")
            if for_good:
                self.world.on_lost(self)

    def give_up_lost_volume(self) -> None:
        """The store goes on without it, with the one in its place."""
        self.old_disk, self.lost_disk, self.loss_pending = self.lost_disk, None, False

    def come_back(self) -> None:
        """It had ended, and is wanted again: on the volume that it had, or on one that was given up earlier."""
        self.retired = False
        old = self.old_disk
        # Its present volume may have joined already: taking that away would be a loss that nobody has accepted.
        if old is not None and self.world.may_return(self.bucket_id):
            old.settle()
            self.disk, self.old_disk = old, None
            self.world.counts["old volumes back"] += 1
            self.world.note(f"{self.name} has an old volume")
            # With records it does not join; and the store may want it no more by now. An operator sees that.
            self.world.after(self.world.rng.uniform(3.0, 6.0), self._take_out_what_did_not_join)
        self.start()

    def _take_out_what_did_not_join(self) -> None:
        topology = self.world.topology
        joined = topology is not None and topology.lists(self.bucket_id, self.identity)
        if not joined and not self.retired and self.lost_disk is None:
            self.take_new_volume()

    def take_new_volume(self) -> None:
        """An operator has looked at it, and gives it a new one."""
        self.crash()
        self.disk = self._new_disk()
        self.start()

    def replace_volume(self) -> None:
        """The store has gone on without this bucket: its volume is deleted for good."""
        if self.disk.held_keys():
            self.world.fail("volumes", f"{self.name} has retired with records on its volume")
        self.disk = self._new_disk()
        self.world.note(f"{self.name} gets another volume")

    def find_volume(self) -> None:
        """The volume itself is there again; it stays away where the store has taken up the one in its place.

        While the bucket is no part of the store, the coordinator may have asked for the one or the other, and be about to
        list it: that is waited for.
        """
        topology = self.world.topology
        if self.lost_disk is None or self.loss_pending:
            return
        if topology is not None and self.bucket_id >= len(topology.identities):
            self.world.after(_LOOK_AGAIN_S, self.find_volume)
            return
        if topology is None or not topology.lists(self.bucket_id, self.identity):
            self.crash()
            self.disk, self.lost_disk = self.lost_disk, None
            self.disk.settle()
            self.world.note(f"{self.name} has its volume again")
            self.start()
            return
        if self.lost_disk.held_keys():
            self.world.fail("volumes", f"the store has gone on without the records on {self.name}'s lost volume")
        self.lost_disk = None


def _is_held(served: _Position, stored: _Position) -> bool:
    """Whether a disk holds what is served by. It may be ahead, of what the loop has not heard of yet, but never behind."""
    if served[0] is None or served[1] is None or stored[0] is None or stored[1] is None:
        return False
    steps = [(cursor.epoch, cursor.position, cursor.intent_end) for cursor in (served[1], stored[1])]
    return served[0].store_id == stored[0].store_id and steps[0] <= steps[1]


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
        self.directory.configuration.follow(world.configured_count)
        await self.directory.start()

    async def serve(self, what: str, work: Callable[[Directory], Coroutine[Any, Any, T]]) -> T:
        """Have its process do something for a client; where that gives up, as with a timeout, its request is cancelled.

        Raises:
            ConnectionResetError: it is not up, or crashed.
        """
        process, directory = self.process, self.directory
        if process is None or directory is None:
            raise ConnectionResetError("the directory is not up")
        answer: asyncio.Future[T] = self.world.loop.create_future()
        self.open_requests[answer] = None

        async def do() -> None:
            try:
                done = await work(directory)
            except StoreError as error:
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(done)

        task = self.world.loop.create_task(do(), name=what, context=process.context.copy())
        self.world.served.append(task)
        try:
            return await answer
        finally:
            task.cancel()
            self.open_requests.pop(answer, None)

    def configure(self) -> None:
        """Take the count that is configured now; one that sleeps takes it when it wakes."""
        if self.process is not None:
            self.world.loop.call_soon(self._configure, context=self.process.context)

    def _configure(self) -> None:
        if self.directory is not None:
            self.directory.configuration.follow(self.world.configured_count)

    def crash(self, *, silently: bool = False) -> None:
        super().crash(silently=silently)
        self.directory = None
        requests, self.open_requests = self.open_requests, {}
        for answer in requests:
            if not answer.done():
                answer.set_exception(ConnectionResetError("the directory crashed"))
