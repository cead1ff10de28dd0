"""The directory: from an operation to its answer.

It holds the topology and one link per bucket in memory, and nothing that is lost with it. An operation goes to its key's
home. What may be repeated, a read or a write that an idempotency key names, is tried again for as long as its deadline
allows; another write only while it has not been sent.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from serve_app.directory.batches import Batches, UnderWay, payload_of
from serve_app.directory.configuration import Configuration
from serve_app.directory.founding import Founding
from serve_app.directory.listing import Listing
from serve_app.directory.polling import Polling
from serve_app.directory.routed import MAX_REROUTES, Routed, check_kind
from serve_app.directory.stats import DirectoryStats
from serve_app.directory.topology_delivery import TopologyDelivery
from serve_app.directory.view import StoreView
from serve_app.directory.watches import Watches
from serve_app.errors import OutcomeUnknown, StoreError, Unavailable
from serve_app.operations import Operation
from serve_app.settings import Limits
from serve_app.wire.connection import CallExpired, ConnectionBroken, Connector, NotSent, connect_tcp
from serve_app.wire.link import BucketLink, ControlPlane, Retired
from serve_app.wire.messages import Moved, Refused
from serve_app.wire.refusals import error_of

A = TypeVar("A")


class Directory:
    """Routes operations. All methods run on one event loop; `start` before the first, `stop` at the end."""

    def __init__(
        self,
        control_plane: ControlPlane,
        limits: Limits,
        connector: Connector = connect_tcp,
        jitter: Callable[[], float] = random.random,
        identity: str = "",
        *,
        guest: bool = False,
    ) -> None:
        """identity: tells this directory's reports from others'; made up at random where none is given. guest: it serves a
        client's process, of which there may be many: it takes none of the slots that buckets keep for the store's own, and
        asks them seldom how they are."""
        self._limits = limits
        self._held_bytes = 0
        self.stats = DirectoryStats()
        self.configuration = Configuration()
        self.view = StoreView(
            lambda bucket_id, known: BucketLink(
                bucket_id, control_plane, connector, limits, known, jitter, guest=guest
            ),
            limits.max_waiting_for_topology,
            self.what_is_missing,
        )
        self.view.on_adopted.append(lambda: self.configuration.compare(self.view))
        self._delivery = TopologyDelivery(self.view)
        #: Lists of keys, over all buckets.
        self.listing = Listing(self.view, self._delivery, limits.request_timeout_s)
        #: Who follows what changes.
        self.watches = Watches(self.view, limits.request_timeout_s)
        self._batches = Batches(self.view, self._delivery, self.stats)
        self._founding = Founding(self.view, self.configuration, control_plane.ids)
        self.polling = Polling(
            self.view,
            self.configuration,
            self._founding,
            self._delivery,
            identity or secrets.token_hex(8),
            guest=guest,
        )

    async def start(self) -> None:
        """Begin to find the buckets, in the background; operations wait for them."""
        self.polling.start()

    async def stop(self) -> None:
        """Close the connections."""
        await self.polling.stop()
        await self.watches.stop()
        self._delivery.stop()
        await self.view.stop()

    def what_is_missing(self) -> str:
        """Why the topology is not known yet, as a sentence."""
        return self.polling.unsettled or self._founding.what_is_missing()

    def carry_out(self, operation: Operation[A], deadline_s: float = 0.0) -> Coroutine[Any, Any, Routed[A]]:
        """Have an operation carried out by its key's home. When this returns for a write, it is on disk.

        deadline_s: on the loop's clock; 0: as long as the limits give a request.

        Raises:
            Unavailable, DiskFull: refused, nothing changed.
            InvalidRequest: it can never succeed.
            OutcomeUnknown: a write was sent, and may have happened.
        """
        payload = operation.payload_bytes
        # No coroutine more than is needed: each takes a part of a get's time.
        return self._route_holding(operation, deadline_s, payload) if payload else self._route(operation, deadline_s)

    async def _route_holding(self, operation: Operation[A], deadline_s: float, payload: int) -> Routed[A]:
        self._hold(payload)
        try:
            return await self._route(operation, deadline_s)
        finally:
            self._held_bytes -= payload

    async def carry_out_all(
        self, operations: Sequence[Operation[Any]], deadline_s: float = 0.0
    ) -> list[Routed[Any] | StoreError]:
        """As `carry_out` for each, in order, with one message to each bucket; what it raises stands where its answer would.

        Raises:
            Unavailable: all of them are refused, nothing changed.
        """
        return (await self._carry_out_all(operations, deadline_s)).outcomes()

    async def answers_to_all(self, operations: Sequence[Operation[Any]], home: int = -1) -> Sequence[Any]:
        """As `carry_out_all`, but with the answers alone. home: the bucket that all of them go to by the topology of now,
        where that is known."""
        return (await self._carry_out_all(operations, 0.0, home)).answers()

    async def _carry_out_all(self, operations: Sequence[Operation[Any]], deadline_s: float, home: int = -1) -> UnderWay:
        payload = payload_of(operations)
        self._hold(payload)
        try:
            deadline_s = deadline_s or asyncio.get_running_loop().time() + self._limits.request_timeout_s
            return await self._batches.carry_out(operations, deadline_s, home)
        finally:
            self._held_bytes -= payload

    def _hold(self, payload: int) -> None:
        """Count bytes of values, for as long as they are on their way. Raises Unavailable."""
        if payload and self._held_bytes and self._held_bytes + payload > self._limits.max_held_bytes:
            raise Unavailable("the values being stored hold too many bytes; try again in a moment")
        self._held_bytes += payload

    async def _route(self, operation: Operation[A], deadline_s: float) -> Routed[A]:
        """Ask the key's home, and who it is said to be, until one answers."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        deadline_s = deadline_s or started_s + self._limits.request_timeout_s
        home = -1
        reroutes = 0
        #: Why it may have happened already: it was sent, and is tried again.
        unknown: OutcomeUnknown | None = None
        try:
            while True:
                topology = self.view.topology or await self.view.wait_for_topology(deadline_s)
                home, epoch, digest = self.view.home_of(operation.key, topology)
                link = self.view.link(home)
                try:
                    connection = link.connection() or await link.wait_for_connection(deadline_s)
                    answer = await connection.call(operation, deadline_s, epoch)
                except (Retired, NotSent):
                    continue  # the topology has changed; or the connection broke, and nothing can have happened
                except ConnectionBroken:
                    if operation.writes:
                        unknown = OutcomeUnknown(
                            f"the connection to bucket-{home} broke after the {operation.name} was sent: it may have happened"
                        )
                    if unknown is None or operation.repeatable:
                        continue  # until the deadline, which the wait for a connection keeps
                    raise unknown from None
                except CallExpired:
                    if not operation.writes:
                        raise Unavailable(f"bucket-{home} did not answer in time") from None
                    raise OutcomeUnknown(
                        f"bucket-{home} did not answer the {operation.name} in time: it may have happened"
                    ) from None
                if isinstance(answer, Moved):
                    reroutes += 1
                    if reroutes > MAX_REROUTES:
                        raise Unavailable(f"bucket-{home} and the topology disagree about the key's home")
                    if not self.view.learn(home, answer):
                        await self._delivery.reconcile(home, answer.topology, deadline_s)
                    continue
                if isinstance(answer, Refused):
                    raise error_of(home, answer)
                check_kind(type(operation), type(answer))
                self.stats.observe(operation.name, home, loop.time() - started_s)
                return Routed(answer, home, digest)
        except StoreError as error:
            # What refuses it now says nothing of what was sent before.
            failed = unknown or error
            self.stats.failed(operation.name, home, failed)
            raise failed from None
