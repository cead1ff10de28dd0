"""Looking at records one by one: are they where they belong? What `python -m serve_app verify` asks of each bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_app import events, placement
from serve_app.bucket.judgement import judge
from serve_app.bucket.refusals import refused
from serve_app.cursor import Cursor
from serve_app.errors import StorageFault
from serve_app.topology import Topology
from serve_app.wire import messages

if TYPE_CHECKING:
    from serve_app.bucket.bucket import Bucket

#: One page: values are read past with their keys, and a page has to fit into its caller's deadline whatever their size.
_RECORDS_AT_ONCE = 20_000
_BYTES_AT_ONCE = 64 * 1024 * 1024


def survey(bucket: Bucket, request: messages.Survey, arrived_s: float) -> messages.Reply:
    """Judge the next records by the bucket's own topology, cursor and markers. Called in a reading thread; never raises."""
    topology, cursor = bucket.durable
    if topology is None:
        return messages.Moved(request.call, None)
    give_up_s = arrived_s + request.timeout_ms / 1000
    keys, size, misplaced, next_start = 0, 0, [], b""
    try:
        for key, raw in bucket.engine.scan(request.start):
            if keys == _RECORDS_AT_ONCE or size >= _BYTES_AT_ONCE:
                next_start = key
                break
            if bucket.clock() >= give_up_s:
                return messages.Refused(
                    request.call, "expired", "the deadline passed while the bucket read its records"
                )
            keys += 1
            size += len(raw)
            if not _is_at_home(bucket, key, topology, cursor):
                misplaced.append(key)
    except StorageFault as error:
        bucket.note_error(error)
        return refused(request.call, error)
    except Exception as error:
        events.error("survey failed", exc_info=error, bucket=bucket.bucket_id)
        return messages.Refused(request.call, "fault", "the bucket made a mistake; its log says more")
    if bucket.decided_topology != topology:  # the markers may be those of the next one already
        return messages.Moved(request.call, topology)
    return messages.Surveyed(request.call, keys, misplaced[: messages.MISPLACED_NAMED], next_start, topology.epoch)


def _is_at_home(bucket: Bucket, key: bytes, topology: Topology, cursor: Cursor | None) -> bool:
    """While keys move, a record of another old home is at home here once it has come, which is the marker's word."""
    if isinstance(judge(bucket.bucket_id, 0, key, topology.epoch, topology, cursor), messages.Moved):
        return False
    if not topology.moving:
        return True
    source = placement.bucket_of(key, topology.bucket_count)
    if source == bucket.bucket_id or source in topology.replaced:
        return True
    marker = bucket.decided_markers.get(source)  # decided before its records are written, so never behind what is read
    return marker is not None and marker.epoch >= topology.epoch and key < marker.end
