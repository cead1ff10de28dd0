"""The directory: from a key to an answer.

It holds the topology and one link per bucket in memory, and nothing that is lost with it. An operation goes to the key's
home; a read is tried again for as long as its deadline allows, a write only while it has not been sent.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from serve_app import placement
from serve_app.directory.stats import DirectoryStats
from serve_app.directory.watch import TopologyWatch
from serve_app.errors import DiskFull, InvalidRequest, OutcomeUnknown, StoreError, Unavailable
from serve_app.settings import Limits
from serve_app.wire import messages
from serve_app.wire.client import CallExpired, ConnectionBroken, Connector, NotSent, connect_tcp
from serve_app.wire.link import BucketLink, ControlPlane, Retired

#: How often an operation is routed again because its bucket was not the key's home.
MAX_REROUTES = 8


class Got(NamedTuple):
    """Answer to a get: value is None where no record has the key."""

    value: bytes | None
    content_type: str
    bucket_id: int
    digest: str


class Put(NamedTuple):
    """Answer to a put: whether the key is new."""

    created: bool
    bucket_id: int
    digest: str


class Deleted(NamedTuple):
    """Answer to a delete: value is what was deleted, None where no record had the key."""

    value: bytes | None
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
        self.stats = DirectoryStats()
        self._held_bytes = 0
        self.watch = TopologyWatch(
            lambda bucket_id, identity: BucketLink(bucket_id, control_plane, connector, limits, identity, jitter),
            control_plane.ids,
            limits.max_waiting_for_topology,
            identity or secrets.token_hex(8),
        )

    async def start(self) -> None:
        """Begin to find the buckets, in the background; operations wait for them."""
        self.watch.start()

    async def stop(self) -> None:
        """Close the connections."""
        await self.watch.stop()

    async def get(self, key: bytes) -> Got:
        """The value of a key.

        Raises:
            Unavailable: the key's bucket can't be reached or can't serve.
        """
        reply, home, digest = await self._call("get", messages.Get, key, (), 0)
        if isinstance(reply, messages.Value):
            return Got(reply.value, reply.content_type, home, digest)
        assert isinstance(reply, messages.Missing), f"a get answered with {type(reply).__name__}"
        return Got(None, "", home, digest)

    async def put(self, key: bytes, value: bytes, content_type: str) -> Put:
        """Store a value; when this returns, it is on disk.

        Raises:
            Unavailable, DiskFull: refused, nothing changed.
            OutcomeUnknown: it was sent and may have happened.
        """
        if self._held_bytes and self._held_bytes + len(value) > self._limits.max_held_bytes:
            raise Unavailable("the values being stored hold too many bytes; try again in a moment")
        self._held_bytes += len(value)
        try:
            reply, home, digest = await self._call("put", messages.Put, key, (value, content_type), len(value))
        finally:
            self._held_bytes -= len(value)
        assert isinstance(reply, messages.Written), f"a put answered with {type(reply).__name__}"
        return Put(reply.created, home, digest)

    async def delete(self, key: bytes) -> Deleted:
        """Remove a key's record; when this returns, that is on disk. Raises as `put`."""
        reply, home, digest = await self._call("delete", messages.Delete, key, (), 0)
        if isinstance(reply, messages.Deleted):
            return Deleted(reply.value, home, digest)
        assert isinstance(reply, messages.Missing), f"a delete answered with {type(reply).__name__}"
        return Deleted(None, home, digest)

    async def _call(
        self,
        operation: str,
        request_type: type[messages.Get] | type[messages.Put] | type[messages.Delete],
        key: bytes,
        rest: tuple[bytes, str] | tuple[()],
        size_bytes: int,
    ) -> tuple[messages.Reply, int, str]:
        """Route until the key's home answers: (its reply, bucket id, digest)."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        deadline_s = started_s + self._limits.request_timeout_s
        home = -1
        reroutes = 0
        try:
            while True:
                topology = self.watch.topology or await self.watch.wait_for_topology(deadline_s)
                home, digest = placement.place(key, topology.bucket_count)
                epoch = 0
                if topology.moving and key < self.watch.cursors.get(home, b""):
                    new_home = placement.bucket_of(key, topology.target_count)
                    if new_home != home:
                        home, epoch = new_home, topology.epoch
                link = self.watch.link(home)
                try:
                    connection = link.connection() or await link.wait_for_connection(deadline_s)
                except Retired:
                    continue  # the topology has changed
                left_ms = int((deadline_s - loop.time()) * 1000)
                if left_ms <= 0:
                    raise Unavailable("the deadline passed before it could be sent")
                request = request_type(connection.next_call(), left_ms, key, *rest)
                request.epoch = epoch
                try:
                    reply = await connection.send(request, deadline_s, size_bytes)
                except NotSent:
                    continue
                except ConnectionBroken:
                    if request_type is messages.Get:
                        continue  # until the deadline, which the wait for a connection keeps
                    raise OutcomeUnknown(
                        f"the connection to bucket-{home} broke after the {operation} was sent: it may have happened"
                    ) from None
                except CallExpired:
                    if request_type is messages.Get:
                        raise Unavailable(f"bucket-{home} did not answer in time") from None
                    raise OutcomeUnknown(
                        f"bucket-{home} did not answer the {operation} in time: it may have happened"
                    ) from None
                if isinstance(reply, messages.Moved):
                    reroutes += 1
                    if reroutes > MAX_REROUTES:
                        raise Unavailable(f"bucket-{home} and the topology disagree about the key's home")
                    if not self.watch.learn(home, reply):
                        await self.watch.reconcile(home, reply.topology, deadline_s)
                    continue
                if isinstance(reply, messages.Refused):
                    _raise(home, reply)
                self.stats.observe(operation, home, loop.time() - started_s)
                return reply, home, digest
        except StoreError as error:
            self.stats.failed(operation, home, error)
            raise


def _raise(home: int, refused: messages.Refused) -> NoReturn:
    """A bucket's refusal as the error it stands for."""
    detail = f"bucket-{home}: {refused.detail}"
    if refused.reason == "disk-full":
        raise DiskFull(detail)
    if refused.reason == "unknown":
        raise OutcomeUnknown(detail)
    if refused.reason == "invalid":
        raise InvalidRequest(detail)
    raise Unavailable(detail)
