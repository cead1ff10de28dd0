"""Talking to the buckets of a running store: what `verify` and `accept-loss` have in common.

No directory is asked: a bucket is the authority on what it holds. Whatever storage a bucket has is talked to, also one that
the store does not know: to tell which it is, is what these commands are for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from serve_app.directory.settling import topology_of
from serve_app.errors import Unavailable
from serve_app.operations.body import Body
from serve_app.settings import Limits
from serve_app.topology import Topology
from serve_app.wire.connection import NO_ANSWER, ClientConnection, answered, connect_tcp
from serve_app.wire.link import BucketLink, ControlPlane
from serve_app.wire.messages import Inspect, Moved, Refused, Status

A = TypeVar("A")

#: How long a bucket that is away is waited for: a process that was killed is back within that.
FIND_TIMEOUT_S = 10.0
_STATUS_TIMEOUT_S = 5.0
#: While a long call is under way the bucket is asked for its status as well: a silent connection counts as broken.
_HEARTBEAT_S = 1.0

#: Named, so that a bucket that is about to end does not take it for another bucket's interest in it.
_INSPECT = Inspect("operator")


class Buckets:
    """A connection to each bucket, made when first needed. Use as an async context manager."""

    def __init__(self, finder: ControlPlane, find_timeout_s: float = FIND_TIMEOUT_S) -> None:
        """finder: one that makes no bucket."""
        self._finder = finder
        self._find_timeout_s = find_timeout_s
        self._links: dict[int, BucketLink] = {}

    async def __aenter__(self) -> Buckets:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.gather(*(link.stop() for link in self._links.values()))

    async def ids(self) -> list[int]:
        """The ids of the buckets that there are. Raises Unavailable."""
        return await self._finder.ids()

    async def ask(self, bucket_id: int, body: Body[A], timeout_s: float) -> A | Moved:
        """A bucket's answer.

        Raises:
            Unavailable: the bucket can't be reached, or refused it.
            ConnectionBroken, CallExpired: there is no answer; it may have been carried out.
        """
        loop = asyncio.get_running_loop()
        connection = await self._connection(bucket_id, loop.time() + self._find_timeout_s)
        sent = connection.call(body, loop.time() + timeout_s)
        while not (await asyncio.wait({sent}, timeout=_HEARTBEAT_S))[0]:
            if connection.open:
                beat = connection.call(_INSPECT, loop.time() + timeout_s)
                beat.add_done_callback(lambda done: done.cancelled() or done.exception())
        answer = await sent
        if isinstance(answer, Refused):
            raise Unavailable(f"bucket-{bucket_id}: {answer.detail}")
        return answer

    async def status(self, bucket_id: int) -> Status:
        """What a bucket knows of itself. Raises as `ask`."""
        return await self.changed_status(bucket_id, _INSPECT, _STATUS_TIMEOUT_S)

    async def changed_status(self, bucket_id: int, body: Body[Status], timeout_s: float) -> Status:
        """A bucket's status, as the answer to what may change it. Raises as `ask`."""
        return answered(bucket_id, await self.ask(bucket_id, body, timeout_s))

    async def _connection(self, bucket_id: int, deadline_s: float) -> ClientConnection:
        link = self._links.get(bucket_id)
        if link is None:
            # No identity is expected, so that no storage is a stranger.
            link = BucketLink(bucket_id, self._finder, connect_tcp, Limits(), lambda _: "")
            self._links[bucket_id] = link
            link.start()
        return link.connection() or await link.wait_for_connection(deadline_s)


@dataclass(frozen=True)
class Seen:
    """What all buckets said of themselves. away: why the others did not. topology: the store's, None where nobody knows."""

    statuses: dict[int, Status]
    away: dict[int, str]
    topology: Topology | None

    def stray(self, bucket_id: int) -> bool:
        """Whether a bucket's storage is not the one that the store knows under its id."""
        topology = self.topology
        assert topology is not None
        status = self.statuses.get(bucket_id)
        return status is not None and topology.lists_another(bucket_id, status.identity)


async def look(buckets: Buckets, except_for: int | None = None) -> Seen:
    """Ask every bucket that there is, and every one that the store counts on. except_for: one that has no say in which
    store it is.

    Raises:
        Unavailable: the buckets can't be found, or are of several stores and nobody can say which is the right one.
    """
    wanted = {0, *await buckets.ids()}
    statuses: dict[int, Status] = {}
    away: dict[int, str] = {}
    while missing := sorted(wanted - statuses.keys() - away.keys()):
        answers = await asyncio.gather(*map(buckets.status, missing), return_exceptions=True)
        for bucket_id, answer in zip(missing, answers, strict=True):
            if isinstance(answer, Status):
                statuses[bucket_id] = answer
            elif isinstance(answer, NO_ANSWER):
                away[bucket_id] = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
        topology = topology_of(status for bucket_id, status in statuses.items() if bucket_id != except_for)
        wanted |= set(range(len(topology.identities))) if topology is not None else set()
    return Seen(statuses, away, topology)
