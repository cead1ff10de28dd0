"""The answers of /health and /topology."""

from __future__ import annotations

from typing import Any, Literal

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


async def topology(directory: Directory, trouble: str = "") -> TopologyAnswer:
    """The shape, with every bucket asked just now. trouble: what else is not followed. Raises as `health`."""
    await directory.polling.refresh()
    known = _topology_of(directory)
    phase: Literal["stable", "moving"] = "stable" if known.phase == "stable" else "moving"
    buckets = [
        _bucket(directory.view.link(bucket_id), directory.view.statuses.get(bucket_id), known)
        for bucket_id in range(len(known.identities))
    ]
    return TopologyAnswer(
        epoch=known.epoch,
        bucket_count=known.bucket_count,
        target_count=known.target_count,
        phase=phase,
        configured_count=directory.configuration.bucket_count,
        expected_end_s=_expected_end_s(buckets[: known.bucket_count]) if known.moving else None,
        problem="; ".join(filter(None, (directory.configuration.problem, trouble))),
        buckets=buckets,
    )


def _topology_of(directory: Directory) -> Topology:
    known = directory.view.topology
    if known is None:
        raise Unavailable(f"the store is not up yet: {directory.what_is_missing()}")
    return known


def _expected_end_s(sources: list[BucketStatus]) -> float | None:
    """The slowest bucket's."""
    slowest_s = 0.0
    for bucket in sources:
        if bucket.remaining is None:
            return None
        if bucket.remaining:
            if not bucket.keys_per_s:
                return None
            slowest_s = max(slowest_s, bucket.remaining / bucket.keys_per_s)
    return slowest_s


def _bucket(link: BucketLink, status: Status | None, known: Topology) -> BucketStatus:
    if status is None or link.wrong_storage:
        return BucketStatus(
            bucket_id=link.bucket_id,
            reachable=False,
            keys=None,
            bytes=None,
            **_NOT_KNOWN,
            revision=None,
            queued_writes=None,
            free_bytes=None,
            disk_full=False,
            waiting_for="",
            last_error=link.trouble or "it did not answer in time",
        )
    # One that has not been told of the move yet knows nothing of what it has to give away.
    told = not known.moving or (status.topology is not None and status.topology.epoch == known.epoch)
    return BucketStatus(
        bucket_id=link.bucket_id,
        reachable=not status.fault,
        keys=status.keys,
        bytes=status.bytes,
        **(_progress(status) if told else _NOT_KNOWN),
        revision=status.revision,
        queued_writes=status.queued_writes,
        free_bytes=status.free_bytes,
        disk_full=status.disk_full,
        waiting_for=status.waiting_for,
        last_error=status.fault or status.last_error,
    )


_NOT_KNOWN: dict[str, Any] = dict.fromkeys(
    ("moved", "moved_bytes", "remaining", "remaining_bytes", "keys_per_s", "bytes_per_s")
)


def _progress(status: Status) -> dict[str, Any]:
    return {
        "moved": status.moved_keys,
        "moved_bytes": status.moved_bytes,
        "remaining": status.remaining_keys,
        "remaining_bytes": status.remaining_bytes,
        "keys_per_s": status.keys_per_s,
        "bytes_per_s": status.bytes_per_s,
    }
