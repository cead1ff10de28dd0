"""What a bucket says of itself: to those who ask for its status, and to its metrics."""

from __future__ import annotations

from serve_app.bucket.bucket import Bucket
from serve_app.bucket.progress import progress
from serve_app.wire.messages import Status


def status_of(bucket: Bucket) -> Status:
    """What the bucket knows of itself; keys and bytes are those of the last synced group. On the loop only."""
    totals, standing = bucket.totals, bucket.served.standing
    waits_for = "; ".join(filter(None, bucket.waiting.values()))
    return Status(
        bucket.bucket_id,
        bucket.identity,
        bucket.incarnation,
        standing.topology,
        totals.keys,
        totals.bytes,
        totals.revision,
        bucket.engine.free_bytes(),
        bucket.lacks_space(),
        bucket.writer.queued,
        standing.fault,
        bucket.last_error,
        bucket.siblings,
        *progress(bucket.bucket_id, standing.topology, standing.cursor, bucket.pace, waits_for),
        bucket.heard_epoch,
    )


def gauges_of(bucket: Bucket) -> dict[str, int]:
    """What its metrics show. Unlike `status_of`, it may be called in any thread."""
    totals = bucket.totals
    return {
        "keys": totals.keys,
        "bytes": totals.bytes,
        "free_bytes": bucket.engine.free_bytes(),
        "queued_writes": bucket.writer.queued,
    }
