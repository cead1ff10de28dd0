"""The world of one run: buckets and directories as processes (nodes.py), and the control plane that finds them.

What Ray does for the product (find a bucket, make it, bring it back) is here.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Collection
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from serve_app.changes import Change
from serve_app.cursor import Cursor, Marker
from serve_app.storage import due, feed
from serve_app.storage.engine import Changes
from serve_app.storage.facts import CURSOR, MARKERS, TOPOLOGY
from serve_app.topology import Topology
from serve_app.wire import messages
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.link import BucketFault
from tests.simulation.failures import Failure
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.nodes import BucketNode, DirectoryNode
from tests.simulation.observer import Observer
from tests.simulation.plan import Plan

if TYPE_CHECKING:
    from tests.simulation.losses import LostVolume

_RESOLVE_S = 0.005
_HEARD_LATE_S = 5.0
_WALL_CLOCK_US = 1_750_000_000_000_000


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
        self.failures: list[Failure] = []
        self.network = loop.network = Network(loop, rng, self.trace, plan.weather, self.counts)
        self.observer = Observer(loop.time)
        self.observer.on_message = self._message
        self.network.on_connect = self.observer.connected
        self.control_plane_away_until_s = 0.0
        self.buckets: dict[int, BucketNode] = {}
        self.directories = [DirectoryNode(self, number) for number in range(plan.directory_count)]
        #: The number of buckets that directories are configured with.
        self.configured_count = plan.bucket_count
        self.changes_left = len(plan.changes)
        #: The newest topology that is on any disk.
        self.topology: Topology | None = None
        #: Every change that is in the feed of a bucket's disk, with the time since when, and the bucket.
        self.changes: list[tuple[float, int, Change]] = []
        #: What directories did for clients (`DirectoryNode.serve`).
        self.served: list[asyncio.Task[None]] = []
        #: When the store has gone on with fewer buckets.
        self.left_s: list[float] = []
        #: What was given up by an accepted loss.
        self.lost_volumes: list[LostVolume] = []
        #: Every topology that was stored or told of, by store and epoch.
        self._topologies: dict[tuple[str, int], Topology] = {}
        self._waiting: list[asyncio.Future[None]] = []
        #: The windows that are being moved, by their buckets, and those that were begun last.
        self.windows: dict[int, Cursor] = {}
        self.last_windows: deque[Window] = deque(maxlen=6)
        #: The bucket that has taken a window last.
        self.last_taker: BucketNode | None = None
        #: Called when a window is begun, taken or moved, with the bucket that did so.
        self.on_window: Callable[[str, BucketNode], None] = lambda what, node: None
        #: Called when a bucket begins to make facts durable, with their names.
        self.on_facts: Callable[[BucketNode, Collection[bytes]], None] = lambda node, names: None
        #: Called when facts have changed on a bucket's disk.
        self.on_batch: Callable[[BucketNode, Changes], None] = lambda node, facts: None
        #: Called when a record is on a bucket's disk that is to expire, with the time by the bucket's clock.
        self.on_due: Callable[[BucketNode, int], None] = lambda node, at_ms: None
        #: Called when the coordinator has asked a bucket that is to join who it is, and has the answer.
        self.on_asked: list[Callable[[BucketNode], None]] = []
        #: Called when a bucket's volume is lost for good.
        self.on_lost: Callable[[BucketNode], None] = lambda node: None
        #: Called when the store has another topology.
        self.on_topology: Callable[[], None] = lambda: None

    def trace(self, text: str) -> None:
        """Something happened. Two runs of one seed trace the same."""
        self._digest.update(f"{self.loop.time():.9f} {text}\n".encode())

    def fail(self, kind: str, text: str) -> None:
        """Something is wrong. kind: see failures.py."""
        self.note(f"{kind}: {text}")
        self.failures.append(Failure(kind, text))

    def met(self, kind: str) -> None:
        """A fault has happened: count it, also among those that happened while keys moved."""
        self.counts[kind] += 1
        if self.topology is not None and self.topology.moving:
            self.counts[f"{kind} while moving"] += 1

    def _message(self, sender: str, receiver: str, message: object) -> None:
        """message: the body of a call, or an answer."""
        if isinstance(message, messages.Refused) and message.reason == "disk-full":
            self.met("disk-full")
        if isinstance(message, messages.Status) and receiver == "bucket-0" and self.topology is not None:
            joining = message.bucket_id >= len(self.topology.identities) and message.bucket_id in self.buckets
            for told_of in self.on_asked if joining else ():
                told_of(self.buckets[message.bucket_id])
        told: Topology | None = getattr(message, "topology", None)
        authority = "operator"  # where bucket 0 itself is lost, the command makes what is to be next
        known = 0 if self.topology is None else self.topology.epoch
        if told is not None and told.epoch > known and sender != authority:
            self.fail("served", f"{sender} tells {receiver} of {told}, which is on no disk")
        if told is not None:
            self._check_epoch(told)

    def _check_epoch(self, topology: Topology) -> None:
        """An epoch names one topology: who has it would keep to it, and never take another."""
        first = self._topologies.setdefault((topology.store_id, topology.epoch), topology)
        if first != topology:
            self.fail("epochs", f"{first} and {topology} have one epoch")

    def accepted(self, epoch: int, value: Topology, storages: Collection[str]) -> None:
        """These have accepted the value as what follows a topology, under one ballot."""
        before = self._topologies.get((value.store_id, epoch))
        if before is not None and len({*storages} & {*before.acceptors}) >= before.majority:
            self._check_epoch(value)  # decided, whether anybody knows it yet or not

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
            node.come_back()
        return node

    async def resolve(self, bucket_id: int, *, make: bool = True) -> Endpoint:
        """Implements ControlPlane. make: whether a bucket that is not there is made."""
        await self._control_plane_answers()
        if not make and (bucket_id not in self.buckets or self.buckets[bucket_id].retired):
            raise ConnectionError(f"there is no bucket-{bucket_id}")
        node = self.bucket(bucket_id)
        endpoint, fault = node.endpoint, node.fault
        await asyncio.sleep(self.rng.random() * 2 * _RESOLVE_S)  # the answer may be out of date when it is here
        if fault:
            raise BucketFault(fault)
        if endpoint is None:
            raise ConnectionError(f"bucket-{bucket_id} is not running")
        return endpoint

    async def ids(self) -> list[int]:
        """Implements ControlPlane. Where all is on one disk, and one machine, nothing but processes is known."""
        await self._control_plane_answers()
        shared = self.plan.shared_disk
        return sorted(
            bucket_id for bucket_id, node in self.buckets.items() if not node.retired and (node.up or not shared)
        )

    def siblings(self, node: BucketNode) -> tuple[int, ...]:
        """Whose volumes lie beside this one's."""
        return tuple(sorted(self.buckets.keys() - {node.bucket_id})) if self.plan.shared_disk else ()

    async def _control_plane_answers(self) -> None:
        await asyncio.sleep(self.rng.random() * 2 * _RESOLVE_S)
        while self.control_plane_away_until_s > self.loop.time():  # noqa: ASYNC110 - it may be put off meanwhile
            await asyncio.sleep(self.control_plane_away_until_s - self.loop.time())

    def has_company(self, node: BucketNode) -> bool:
        """Whether another bucket of the store has the topology on its disk: else nobody could tell this one's empty volume
        from a new store."""
        count = 0 if self.topology is None else len(self.topology.identities)
        return any(
            other is not node and other.bucket_id < count and other.disk.get_fact(TOPOLOGY) is not None
            for other in self.buckets.values()
        )

    def may_return(self, bucket_id: int) -> bool:
        """Whether a volume that was given up may be the bucket's again: it is to join, and everybody knows that it has left.

        Whoever knows no later topology than the volume does would take it for what it was: that is why an operator must not
        bring it back. And who woke with what was true long ago looks for a bucket that nobody wants.
        """
        topology = self.topology
        known = [None if node.directory is None else node.directory.view.topology for node in self.directories]
        left = topology is not None and bucket_id >= len(topology.identities)
        return self.plan.old_volumes_return and left and all(each == topology for each in known)

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
        """Wait for one, or for this long."""
        future: asyncio.Future[None] = self.loop.create_future()
        self._waiting.append(future)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await future

    async def next_move(self, timeout_s: float) -> None:
        """Wait until keys move, for at most this long; not at all where no change is due."""
        deadline_s = self.loop.time() + timeout_s
        while (topology := self.topology) is not None and not topology.moving:
            due = self.changes_left or topology.bucket_count != self.configured_count
            if not due or self.loop.time() >= deadline_s:
                return
            await self.next_moment(deadline_s - self.loop.time())

    async def next_window(self, timeout_s: float) -> None:
        """Wait until a window is begun, taken or moved, for at most this long; not at all where no keys move."""
        if self.topology is not None and self.topology.moving:
            await self.next_moment(timeout_s)

    async def settled(self, timeout_s: float) -> None:
        """Wait until the store has as many buckets as are configured, for at most this long."""
        deadline_s = self.loop.time() + timeout_s
        while self.loop.time() < deadline_s:
            topology = self.topology
            if topology is not None and not topology.moving and topology.bucket_count == self.configured_count:
                return
            await self.next_moment(deadline_s - self.loop.time())

    def stored(self, node: BucketNode, facts: Changes) -> None:
        """A bucket's facts have changed on its disk."""
        changed = {name: value for name, value in facts if value is not None}
        for name, value in changed.items():
            if name.startswith(due.PREFIX) and (at := due.parse(name)).kind == due.RECORD:
                self.on_due(node, at.at_ms)
            if name.startswith(feed.PREFIX):
                for change in msgspec.msgpack.decode(value, type=list[Change]):
                    self.changes.append((self.loop.time(), node.bucket_id, change))
        self._check_epochs(node)
        self.on_batch(node, facts)
        if CURSOR in changed:
            cursor = msgspec.msgpack.decode(changed[CURSOR], type=Cursor)
            if self.lost_volumes:
                held = set(node.disk.held_keys())
                for lost in self.lost_volumes:
                    # In one batch with a topology, the step was decided before that: it is of the epoch before.
                    lost.advanced(node.bucket_id, held, 0 if TOPOLOGY in changed else cursor.epoch)
        if TOPOLOGY in changed:
            self._stored_topology(node, msgspec.msgpack.decode(changed[TOPOLOGY], type=Topology))
        elif CURSOR in changed:
            self.note(f"{node.name} {cursor}")
            if cursor.intent_end:
                self.windows[node.bucket_id] = cursor
                assert self.topology is not None
                self.last_windows.append(Window(self.topology, node.bucket_id, cursor.position, cursor.intent_end))
            else:
                self.windows.pop(node.bucket_id, None)
            self._happened("begun" if cursor.intent_end else "moved", node)
        elif MARKERS in changed:
            self.trace(f"{node.name} {changed[MARKERS]!r}")
            self.last_taker = node
            self._happened("taken", node)

    def _check_epochs(self, node: BucketNode) -> None:
        """A move's epoch never meets another epoch's cursor or markers on a disk, nor a storage a topology without it."""
        topology, cursor, markers = (node.disk.get_fact(name) for name in (TOPOLOGY, CURSOR, MARKERS))
        if topology is None or cursor is None or markers is None:
            return
        of = msgspec.msgpack.decode(topology, type=Topology)
        epochs = {marker.epoch for marker in msgspec.msgpack.decode(markers, type=dict[int, Marker]).values()}
        epochs.add(msgspec.msgpack.decode(cursor, type=Cursor).epoch)
        if epochs != {of.epoch}:
            self.fail("facts", f"the disk of {node.name} has cursor and markers of {epochs} beside epoch {of.epoch}")
        if node.bucket_id < len(of.identities) and not of.lists(node.bucket_id, node.identity):
            self.fail("facts", f"{node.name} has taken on {of}, which does not list its storage {node.identity}")

    def _happened(self, what: str, node: BucketNode) -> None:
        self.counts[f"windows {what}"] += 1
        self.moment()
        self.after(0, self.on_window, what, node)

    def _stored_topology(self, node: BucketNode, topology: Topology) -> None:
        self._check_epoch(topology)
        for lost in self.lost_volumes:
            others = [each for each in self.buckets.values() if each.bucket_id >= len(topology.identities)]
            lost.went_on(topology, (key for other in others for key in other.disk.held_keys()))
        before = self.topology
        if before is None or topology.epoch > before.epoch:
            if topology.moving and (before is None or not before.same_move(topology)):
                self.counts["moves begun"] += 1
            elif before is not None and before.moving and not topology.moving:
                self.counts["moves ended"] += 1
            if before is not None and len(topology.identities) < len(before.identities):
                self.left_s.append(self.loop.time())
            self.topology = topology
            self.windows.clear()
            self.moment()
            self.after(0, self.on_topology)
        self.note(f"{node.name} {topology.epoch}: {topology.bucket_count} -> {topology.target_count}")

    def may_lose_history(self, why: str, since_s: float) -> bool:
        """Whether a watch that began then may be told that its history is lost, for this reason."""
        if self.lost_volumes:
            return True
        # Its feed has gone with it, or it has begun a new one; some directories hear of that later, and one that has slept
        # goes on with a feed that has as well.
        slept_s = max((node.process.slept_s for node in self.directories if node.process is not None), default=0.0)
        if any(at_s > since_s - _HEARD_LATE_S - slept_s for at_s in self.left_s):
            return "has left" in why or "another storage" in why or "since revision" in why
        return self.plan.limits.watch_history < 1000 and ("since revision" in why or "told too much" in why)

    def now_us(self) -> int:
        """Of an operator's wall clock."""
        return _WALL_CLOCK_US + int(self.loop.time() * 1_000_000)

    def after(self, seconds: float, callback: Callable[..., None], *args: Any) -> None:
        """Do something later, whatever process is running now."""
        self.loop.call_later(seconds, callback, *args, context=self.loop._outside.context)
