"""A bucket's connections to the other buckets, for as long as keys move."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from serve_app.operations.body import Body
from serve_app.resharding.moving_bucket import MovingBucket
from serve_app.topology import expected_identity
from serve_app.wire.connection import CallExpired, answered
from serve_app.wire.link import BucketLink, MakeLink
from serve_app.wire.messages import Inspect, Install, Moved, Refused, Status

A = TypeVar("A")


class Peers:
    """Links to other buckets, made when first needed. A bucket never asks itself."""

    def __init__(self, bucket: MovingBucket, make_link: MakeLink) -> None:
        self._bucket = bucket
        self._make_link = make_link
        self._links: dict[int, BucketLink] = {}

    async def ask(self, bucket_id: int, body: Body[A], timeout_s: float, epoch: int = 0) -> A | Moved | Refused:
        """A bucket's answer. epoch: the envelope's.

        Raises:
            Unavailable, ConnectionBroken, CallExpired: there is none; it may have been carried out.
        """
        link = self._link(bucket_id)
        if link.wrong_storage:
            link.reconnect()  # nothing is sent to it that would show that it has vanished, and the right one is there
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        connection = link.connection() or await link.wait_for_connection(deadline_s)
        return await connection.call(body, deadline_s, epoch)

    async def status(self, bucket_id: int, timeout_s: float) -> Status:
        """What a bucket knows of itself. Raises as `ask`, and Unavailable where it refused."""
        return answered(bucket_id, await self.ask(bucket_id, Inspect(), timeout_s))

    async def news(self, bucket_id: int, timeout_s: float) -> Status:
        """As `status`, but of whatever storage it has: it may have taken a lost one's place, which we were not told."""
        link = self._link(bucket_id)
        if not link.wrong_storage:
            return await self.status(bucket_id, timeout_s)
        try:
            return await link.ask(Inspect(), timeout_s)
        except CallExpired:
            link.reconnect()  # it has vanished without a word
            raise

    async def install(self, bucket_id: int, timeout_s: float) -> Status:
        """Hand a bucket our topology. Raises as `ask`; Unavailable too where it refuses it."""
        topology = self._bucket.topology
        assert topology is not None
        return answered(bucket_id, await self.ask(bucket_id, Install(topology), timeout_s))

    def _link(self, bucket_id: int) -> BucketLink:
        assert bucket_id != self._bucket.bucket_id, "a bucket has no connection to itself"
        link = self._links.get(bucket_id)
        if link is None:
            link = self._links[bucket_id] = self._make_link(bucket_id, self._expected_identity)
            link.start()
        link.check_identity()  # the topology may list its storage by now, or no more
        return link

    async def close(self) -> None:
        """Close all connections."""
        links, self._links = self._links, {}
        for link in links.values():
            await link.stop()

    def _expected_identity(self, bucket_id: int) -> str:
        return expected_identity(self._bucket.topology, bucket_id)
