"""The answers of /health and /topology."""

from __future__ import annotations

from typing import Literal

from serve_app.directory.directory import Directory
from serve_app.errors import Unavailable
from serve_app.http.models import BucketStatus, HealthAnswer, TopologyAnswer
from serve_app.topology import Topology
from serve_app.wire.link import BucketLink
from serve_app.wire.messages import Status


def health(directory: Directory) -> HealthAnswer:
    """M. It says that the store knows its shape, not that every bucket is there: /topology says that.

    Raises:
        Unavailable: the topology is not known yet.
    """
    return HealthAnswer(bucket_count=_topology_of(directory).bucket_count)


async def topology(directory: Directory) -> TopologyAnswer:
    """The shape, with every bucket asked just now. Raises as `health`."""
    await directory.watch.inspect_all()
    known = _topology_of(directory)
    phase: Literal["stable", "moving"] = "stable" if known.phase == "stable" else "moving"
    return TopologyAnswer(
        epoch=known.epoch,
        bucket_count=known.bucket_count,
        target_count=known.target_count,
        phase=phase,
        configured_count=directory.watch.configured_count,
        problem=directory.watch.problem,
        buckets=[
            _bucket(directory.watch.link(bucket_id), directory.watch.statuses.get(bucket_id))
            for bucket_id in range(len(known.identities))
        ],
    )


def _topology_of(directory: Directory) -> Topology:
    known = directory.watch.topology
    if known is None:
        raise Unavailable(f"the store is not up yet: {directory.watch.what_is_missing()}")
    return known


def _bucket(link: BucketLink, status: Status | None) -> BucketStatus:
    if status is None or link.stranger:
        return BucketStatus(
            bucket_id=link.bucket_id,
            reachable=False,
            keys=None,
            bytes=None,
            moved=0,
            remaining=0,
            free_bytes=None,
            disk_full=False,
            last_error=link.trouble or "it did not answer in time",
        )
    return BucketStatus(
        bucket_id=link.bucket_id,
        reachable=not status.fault,
        keys=status.keys,
        bytes=status.bytes,
        moved=status.moved_keys,
        remaining=status.remaining_keys,
        free_bytes=status.free_bytes,
        disk_full=status.disk_full,
        last_error=status.fault or status.last_error or status.waiting_for,
    )
