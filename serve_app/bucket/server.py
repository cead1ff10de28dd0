"""The bucket's server: its event loop's side of the data plane.

The server owns the connections, hands groups from the writer's thread back to the loop, and keeps a few threads for reads
that have to wait for the disk, so that those never hold up the loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

from serve_app import events
from serve_app.authority.losses import after_loss
from serve_app.authority.proposer import Proposer
from serve_app.bucket.bucket import Bucket, Storage
from serve_app.bucket.connection import HANDSHAKE_TIMEOUT_S, ServerConnection
from serve_app.bucket.expiry import Expiry
from serve_app.bucket.feed_tail import FeedTail
from serve_app.bucket.held import HeldOperations
from serve_app.bucket.mover_access import MoverAccess
from serve_app.bucket.platform import Platform
from serve_app.bucket.queued import Caller, QueuedWrite
from serve_app.bucket.space import SpaceKeeper
from serve_app.bucket.standing import Standing
from serve_app.bucket.status import status_of
from serve_app.errors import StoreError, Unavailable
from serve_app.operations.body import Answer
from serve_app.resharding.coordinator import Coordinator
from serve_app.resharding.mover import Mover
from serve_app.resharding.peers import Peers
from serve_app.seldom import Seldom
from serve_app.settings import Limits
from serve_app.storage.commit import Commit
from serve_app.storage.engine import EngineFailed
from serve_app.storage.group import Write
from serve_app.threads import hand_over
from serve_app.wire import tls
from serve_app.wire.connection import Connector, connect_tcp
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.link import BucketLink, ControlPlane
from serve_app.wire.messages import AcceptLoss, Inspect, Refused, Status
from serve_app.wire.refusals import refused

T = TypeVar("T")
#: A bucket that is left out ends when no bucket has asked for it for this many seconds: the coordinator asks when it is to
#: join again. One that belongs to no store yet ends when nobody at all has.
_LEFT_ALONE_S = 5.0
#: Connections that have not shown the token yet have slots of their own, so that no stranger takes one of `max_connections`.
#: When one more comes, the oldest gives way: a directory greets in the instant it is connected, long before as many others
#: come. Turning away the newest instead would let those who hold on keep directories out.
MAX_STRANGERS = 512
#: Connections that the kernel keeps until they are accepted; where there is no room, a client tries again a second later.
_BACKLOG = 1024


class BucketServer:
    """Serves one bucket on one loop. Everything but `_group_done` runs on that loop."""

    def __init__(
        self,
        storage: Storage,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        *,
        failed: Callable[[EngineFailed], None],
        platform: Platform = Platform(),  # noqa: B008 - it is immutable
    ) -> None:
        """`failed` is called, in the writer's thread, when the storage can't go on: it must end the process."""
        self.loop = loop
        self.token = platform.new_id(32)
        self.max_queued_reads = limits.max_queued_reads
        self.bucket = Bucket(
            storage,
            limits,
            incarnation=platform.new_id(8),
            on_group_done=self._group_done,
            failed=failed,
            platform=platform,
        )
        self._max_connections, self._max_guests = limits.max_connections, limits.max_client_connections
        # In order, so that a simulation repeats itself. Those that have shown the token, of the store's own and of clients'
        # processes, and those that have not yet.
        self._connections: dict[ServerConnection, None] = {}
        self._guests: dict[ServerConnection, None] = {}
        self._strangers: dict[ServerConnection, None] = {}
        bucket_id = self.bucket.bucket_id
        #: What may be logged of connections that have shown the token, and of those that have not.
        self.peer_events = Seldom(loop.call_later, bucket=bucket_id)
        self.stranger_events = Seldom(loop.call_later, bucket=bucket_id)
        self._readers = platform.readers()
        self.held = HeldOperations(loop, platform.monotonic_s, limits)
        self.mover_access = MoverAccess(self.bucket, loop, self._readers.submit, self.held.release)
        self.expiry = Expiry(self.bucket, loop, self._readers.submit)
        self.feed = FeedTail(self.bucket, loop, storage.facts.feed)
        self._expiring: asyncio.Task[None] | None = None
        #: Set by who runs the coordinator: gets each Inspect.
        self.heard: Callable[[Inspect], None] = lambda inspect: None
        self._servers: list[asyncio.Server] = []
        self._moving: list[asyncio.Task[None]] = []
        self._peers: list[Peers] = []
        #: Of what is to follow the topology; None for who takes no part in moves.
        self.proposer: Proposer | None = None
        self._proposals: set[asyncio.Task[None]] = set()
        self._limits = limits
        self._was_full = False
        self._subscribers: list[Callable[[Commit], None]] = []
        self._space = SpaceKeeper(self.bucket, limits.disk_reserve_bytes, loop)
        self.subscribe(self.expiry.heard)
        self.subscribe(self.feed.heard)

    async def start(self, host: str) -> Endpoint:
        """Begin to serve, and `listen`."""
        self.bucket.writer.start()
        self._expiring = self.loop.create_task(self.expiry.run())
        return await self.listen(host)

    async def listen(self, host: str) -> Endpoint:
        """Listen on a free port of `host`, beside where it listens already; returns what a directory needs to connect.

        Raises:
            OSError: it can't be listened on.
        """
        context = tls.server_context()
        server = await self.loop.create_server(
            lambda: ServerConnection(self),
            host,
            0,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if context else None,
            backlog=_BACKLOG,
        )
        self._servers.append(server)
        port = server.sockets[0].getsockname()[1]
        return Endpoint((host, port), self.token, self.bucket.incarnation)

    def take_part_in_moves(
        self,
        control_plane: ControlPlane,
        connector: Connector = connect_tcp,
        jitter: Callable[[], float] = random.random,
        retired: Callable[[], None] = lambda: None,
    ) -> None:
        """Run the mover, and in bucket 0 the coordinator. `retired` is called when no store needs this bucket."""
        bucket = self.bucket

        def make_link(bucket_id: int, expected_identity: Callable[[int], str]) -> BucketLink:
            return BucketLink(bucket_id, control_plane, connector, self._limits, expected_identity, jitter)

        asked_s = bucket.clock()

        def asked(inspect: Inspect) -> None:
            nonlocal asked_s
            if not inspect.directory or bucket.standing.topology is None:
                asked_s = bucket.clock()

        def retire() -> None:
            if bucket.totals.keys:
                whose = "knows of no store" if bucket.standing.topology is None else "is left out"
                bucket.waiting["retiring"] = f"bucket-{bucket.bucket_id} {whose} but holds records"
            elif bucket.clock() - asked_s > _LEFT_ALONE_S:
                retired()

        self.heard = asked

        self._peers = [Peers(self.mover_access, make_link) for _ in range(3)]
        self.proposer = Proposer(self.mover_access, self._peers[2], bucket.incarnation, jitter)
        mover = Mover(self.mover_access, self._peers[0], self._limits.move_bytes_per_s, retire)
        self._moving = [self.loop.create_task(mover.run())]
        if bucket.bucket_id == 0:
            coordinator = Coordinator(
                self.mover_access,
                self._peers[1],
                self.proposer,
                bucket.clock,
                lambda what: bucket.report_waiting("coordinator", what),
            )
            self.heard = coordinator.heard
            self._moving.append(self.loop.create_task(coordinator.run()))

    async def stop(self) -> None:
        """Take no more requests, commit what is queued, answer it, and close all connections."""
        own = [*self._moving, *filter(None, [self._expiring]), *self._proposals]
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)
        for peers in self._peers:
            await peers.close()
        for server in self._servers:
            server.close()
        await self.loop.run_in_executor(None, self.bucket.writer.stop)
        await asyncio.sleep(0)  # the last group's `_finish_group` is queued before this
        self.held.stop()
        self.feed.stop()
        for connection in [*self._connections, *self._guests, *self._strangers]:
            connection.close()
        self.peer_events.flush()
        self.stranger_events.flush()
        await self._space.stop()
        self._readers.shutdown(wait=True)

    # -- for connections ---------------------------------------------------------------------------------------------

    def knock(self, connection: ServerConnection) -> None:
        """Take in a connection that has not shown the token yet."""
        if len(self._strangers) >= MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.hang_up("it gave way to others that have not shown the token either")
        self._strangers[connection] = None

    def admit(self, connection: ServerConnection, guest: bool) -> bool:
        """Whether a connection that has shown the token may stay."""
        those, most = (self._guests, self._max_guests) if guest else (self._connections, self._max_connections)
        if len(those) >= most:
            return False
        self._strangers.pop(connection, None)
        those[connection] = None
        return True

    def forget(self, connection: ServerConnection) -> None:
        self._connections.pop(connection, None)
        self._guests.pop(connection, None)
        self._strangers.pop(connection, None)

    def propose_loss(self, body: AcceptLoss, done: Callable[[Answer], None]) -> None:
        """Have several acceptors decide that a bucket goes on without its data. `done` gets this one's status, or why not."""

        async def propose() -> None:
            try:
                topology = self.bucket.standing.topology
                if topology is None or self.bucket.standing.fault or self.proposer is None:
                    raise Unavailable("this storage takes no part in a store")
                new = after_loss(topology, body, self.bucket.now_ms())
                if new is not None:
                    events.warning("accepting loss", bucket=body.bucket_id, identity=body.identity)
                    await self.proposer.decide(topology, new)
            except StoreError as error:
                done(refused(error))
            except Exception as error:  # a mistake of ours: whoever asked is to hear something
                events.error("loss not decided", exc_info=error, bucket=self.bucket.bucket_id)
                done(Refused("unknown", "the bucket made a mistake; the log says more"))
            else:
                done(status_of(self.bucket))

        task = self.loop.create_task(propose())
        self._proposals.add(task)
        task.add_done_callback(self._proposals.discard)

    def in_thread(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Have `work`, which raises nothing, done in a reading thread; `done` gets what it returns, on the loop."""
        hand_over(self.loop, self._readers.submit, work).add_done_callback(lambda outcome: done(outcome.result()))

    # -- groups ------------------------------------------------------------------------------------------------------

    def subscribe(self, subscriber: Callable[[Commit], None]) -> None:
        """Have each commit handed over, on the loop, in order, once it is durable and served by, and before its writes are
        answered. A subscriber that raises harms nobody else."""
        self._subscribers.append(subscriber)

    def _group_done(self, writes: list[Write], commit: Commit | None, standing: Standing, *, whole: bool) -> None:
        self.loop.call_soon_threadsafe(self._finish_group, writes, commit, standing, whole)

    def _finish_group(self, writes: list[Write], commit: Commit | None, standing: Standing, whole: bool) -> None:
        """Serve by what the group has changed, hand its commit on, and answer its writes."""
        bucket = self.bucket
        bucket.writer.release(writes)
        if bucket.serve_by(standing, whole=whole):
            self.mover_access.changed.set()
        if commit is not None:
            self._hand_on(commit)
        callers: dict[Caller, None] = {}

        def status() -> Status:
            return status_of(bucket)

        for write in writes:
            assert isinstance(write, QueuedWrite), "the bucket queues nothing else"
            try:
                caller = write.conclude(status)
            except Exception as error:  # the others of the group are to have their answers
                events.error("write not answered", exc_info=error, bucket=bucket.bucket_id)
                continue
            if caller is not None:
                callers[caller] = None
        for caller in callers:
            caller.flush()
        self._space.look()
        if bucket.disk_full != self._was_full:
            self._was_full = bucket.disk_full
            if self._was_full:
                events.warning("disk full", bucket=bucket.bucket_id, free_bytes=bucket.engine.free_bytes())
            else:
                events.info("disk has room again", bucket=bucket.bucket_id)

    def _hand_on(self, commit: Commit) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(commit)
            except Exception as error:
                events.error("commit subscriber failed", exc_info=error, bucket=self.bucket.bucket_id)
