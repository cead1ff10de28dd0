"""Handing the topology to buckets that are behind: a bucket makes it durable before it serves by it."""

from __future__ import annotations

import asyncio

from serve_app import events
from serve_app.directory.view import StoreView
from serve_app.errors import Unavailable
from serve_app.topology import Topology
from serve_app.wire.connection import CallExpired, ConnectionBroken
from serve_app.wire.messages import Install

#: How long a bucket is waited for that is asked for its status, or told the topology.
ASK_TIMEOUT_S = 2.0


class TopologyDelivery:
    """See the module."""

    def __init__(self, view: StoreView) -> None:
        self._view = view
        self._under_way: dict[int, asyncio.Task[None]] = {}

    def stop(self) -> None:
        for task in list(self._under_way.values()):
            task.cancel()

    async def reconcile(self, bucket_id: int, theirs: Topology | None, deadline_s: float) -> None:
        """Agree with a bucket that answered Moved: adopt its topology if it is newer, else hand it ours.

        Raises:
            Unavailable: the bucket refused ours or can't be asked before the deadline. Nothing was done for a Moved.
        """
        view = self._view
        if theirs is not None:
            view.adopt(theirs)
        if theirs is not None and theirs is view.topology:
            return
        task = self._under_way.get(bucket_id)
        if task is None:  # many operations may find out at once; one tells the bucket
            task = asyncio.create_task(self._install(bucket_id))
            self._under_way[bucket_id] = task
            task.add_done_callback(lambda done: self._ended(bucket_id, done))
        try:
            async with asyncio.timeout_at(deadline_s):
                await asyncio.shield(task)
        except (ConnectionBroken, CallExpired, TimeoutError):
            raise Unavailable(f"bucket-{bucket_id} could not be told the topology") from None

    def _ended(self, bucket_id: int, done: asyncio.Task[None]) -> None:
        del self._under_way[bucket_id]
        if not done.cancelled():
            done.exception()  # whoever waited has it; else nobody wants to know

    async def catch_up(self, topology: Topology) -> None:
        """Tell the buckets that are behind, all at once: one that is slow must not hold up the others."""
        behind = [
            bucket_id
            for bucket_id, status in self._view.statuses.items()
            if bucket_id < len(topology.identities)
            and not status.fault
            and (status.topology is None or status.topology.epoch < topology.epoch)
        ]
        outcomes = await asyncio.gather(*(self._install(bucket_id) for bucket_id in behind), return_exceptions=True)
        for bucket_id, outcome in zip(behind, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                events.warning("topology not installed", bucket=bucket_id, reason=str(outcome))

    async def _install(self, bucket_id: int) -> None:
        view = self._view
        topology, link = view.topology, view.links.get(bucket_id)
        if topology is None or link is None:
            return  # the store goes on without it, as we have learned meanwhile
        status = await link.ask(Install(topology), ASK_TIMEOUT_S)
        if bucket_id in view.links:
            view.statuses[bucket_id] = status
        view.adopt(status.topology)
