"""The directory: from an operation to its answer.

It holds the topology and one link per bucket in memory, and nothing that is lost with it. An operation goes to its key's
home; a read is tried again for as long as its deadline allows, a write only while it has not been sent.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from serve_app import placement
from serve_app.directory.configuration import Configuration
from serve_app.directory.founding import Founding
from serve_app.directory.polling import Polling
from serve_app.directory.stats import DirectoryStats
from serve_app.directory.topology_delivery import TopologyDelivery
from serve_app.directory.view import StoreView
from serve_app.errors import OutcomeUnknown, StoreError, Unavailable
from serve_app.operations import Operation
from serve_app.operations.body import answer_types
from serve_app.settings import Limits
from serve_app.topology import Topology
from serve_app.wire.connection import CallExpired, ConnectionBroken, Connector, NotSent, connect_tcp
from serve_app.wire.link import BucketLink, ControlPlane, Retired
from serve_app.wire.messages import Moved, Refused
from serve_app.wire.refusals import error_of

#: How often an operation is routed again because its bucket was not the key's home.
MAX_REROUTES = 8
A = TypeVar("A")


class Routed(NamedTuple, Generic[A]):
    """What came of an operation: the answer of its key's home, that bucket's id, and the SHA256 of the key in hex."""

    answer: A
    bucket_id: int
    digest: str


class Directory:
    """Routes operations. All methods run on one event loop; `start` before the first, `stop` at the end."""

    def __init__(
        self,
        control_plane: ControlPlane,
        limits: Limits,
        connector: Connector = connect_tcp,
        jitter: Callable[[], float] = random.random,
        identity: str = "",
    ) -> None:
        """identity: tells this directory's reports from others'; made up at random where none is given."""
        self._limits = limits
        self._held_bytes = 0
        self.stats = DirectoryStats()
        self.configuration = Configuration()
        self.view = StoreView(
            lambda bucket_id, identity: BucketLink(bucket_id, control_plane, connector, limits, identity, jitter),
            limits.max_waiting_for_topology,
            self.what_is_missing,
        )
        self.view.on_adopted = lambda: self.configuration.compare(self.view)
        self._delivery = TopologyDelivery(self.view)
        self._founding = Founding(self.view, self.configuration, control_plane.ids)
        self.polling = Polling(
            self.view, self.configuration, self._founding, self._delivery, identity or secrets.token_hex(8)
        )

    async def start(self) -> None:
        """Begin to find the buckets, in the background; operations wait for them."""
        self.polling.start()

    async def stop(self) -> None:
        """Close the connections."""
        await self.polling.stop()
        self._delivery.stop()
        await self.view.stop()

    def what_is_missing(self) -> str:
        """Why the topology is not known yet, as a sentence."""
        return self.polling.unsettled or self._founding.what_is_missing()

    async def carry_out(self, operation: Operation[A]) -> Routed[A]:
        """Have an operation carried out by its key's home. When this returns for a write, it is on disk.

        Raises:
            Unavailable, DiskFull: refused, nothing changed.
            InvalidRequest: it can never succeed.
            OutcomeUnknown: a write was sent, and may have happened.
        """
        payload = operation.payload_bytes
        if payload and self._held_bytes and self._held_bytes + payload > self._limits.max_held_bytes:
            raise Unavailable("the values being stored hold too many bytes; try again in a moment")
        self._held_bytes += payload
        try:
            return await self._route(operation)
        finally:
            self._held_bytes -= payload

    async def _route(self, operation: Operation[A]) -> Routed[A]:
        """Ask the key's home, and who it is said to be, until one answers."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        deadline_s = started_s + self._limits.request_timeout_s
        home = -1
        reroutes = 0
        try:
            while True:
                topology = self.view.topology or await self.view.wait_for_topology(deadline_s)
                home, epoch, digest = self._home(operation.key, topology)
                link = self.view.link(home)
                try:
                    connection = link.connection() or await link.wait_for_connection(deadline_s)
                    answer = await connection.call(operation, deadline_s, epoch)
                except (Retired, NotSent):
                    continue  # the topology has changed; or the connection broke, and nothing can have happened
                except ConnectionBroken:
                    if not operation.writes:
                        continue  # until the deadline, which the wait for a connection keeps
                    raise OutcomeUnknown(
                        f"the connection to bucket-{home} broke after the {operation.name} was sent: it may have happened"
                    ) from None
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
                _check_kind(operation, answer)
                self.stats.observe(operation.name, home, loop.time() - started_s)
                return Routed(answer, home, digest)
        except StoreError as error:
            self.stats.failed(operation.name, home, error)
            raise

    def _home(self, key: bytes, topology: Topology) -> tuple[int, int, str]:
        """The key's home as far as is known, the epoch of the claim that it has moved there (else 0), and its digest."""
        home, digest = placement.place(key, topology.bucket_count)
        if topology.moving and key < self.view.cursors.get(home, b""):
            new_home = placement.bucket_of(key, topology.target_count)
            if new_home != home:
                return new_home, topology.epoch, digest
        return home, 0, digest


def _check_kind(operation: Operation[Any], answer: object) -> None:
    """An answer is of a kind that its operation names: both ends have the same declaration."""
    assert isinstance(answer, answer_types(type(operation))), f"{operation.name} answered with {answer!r:.80}"
