"""Looking at records one by one: are they where they belong? What `python -m serve_app verify` asks of each bucket."""

from __future__ import annotations

from collections.abc import Mapping

from serve_app import events, placement
from serve_app.bucket.judgement import judge
from serve_app.bucket.reader import ReadBucket
from serve_app.cursor import Cursor, Marker
from serve_app.errors import StorageFault
from serve_app.operations.body import Answer
from serve_app.storage.facts import read_markers, read_topology
from serve_app.topology import Topology
from serve_app.wire.messages import MISPLACED_NAMED, Moved, Refused, Surveyed
from serve_app.wire.refusals import refused

#: One page: values are read past with their keys, and a page has to fit into its caller's deadline whatever their size.
_RECORDS_AT_ONCE = 20_000
_BYTES_AT_ONCE = 64 * 1024 * 1024


def survey(bucket: ReadBucket, start: bytes, give_up_s: float) -> Answer:
    """Judge the next records from `start` on by the bucket's own topology, cursor and markers. give_up_s: on the bucket's
    clock. In a reading thread; never raises."""
    standing, engine = bucket.served.standing, bucket.engine
    topology = standing.topology
    if topology is None:
        return Moved(None)
    keys: list[bytes] = []
    size, next_start = 0, b""
    try:
        for key, raw in engine.scan(start):
            if len(keys) == _RECORDS_AT_ONCE or size >= _BYTES_AT_ONCE:
                next_start = key
                break
            if bucket.clock() >= give_up_s:
                return Refused("expired", "the deadline passed while the bucket read its records")
            keys.append(key)
            size += len(raw)
        # What came meanwhile came with its marker, in one batch: those on the disk are never behind the records read. Of
        # another topology they would come with that one, which is looked at after them.
        markers = read_markers(engine.get_fact, "the bucket")
        if read_topology(engine.get_fact, "the bucket") != topology:
            return Moved(topology)
    except StorageFault as error:
        bucket.note_error(error)
        return refused(error)
    except Exception as error:
        events.error("survey failed", exc_info=error, bucket=bucket.bucket_id)
        return Refused("fault", "the bucket made a mistake; its log says more")
    misplaced = [key for key in keys if not _is_at_home(bucket.bucket_id, key, topology, standing.cursor, markers)]
    return Surveyed(len(keys), misplaced[:MISPLACED_NAMED], next_start, topology.epoch)


def _is_at_home(
    bucket_id: int, key: bytes, topology: Topology, cursor: Cursor | None, markers: Mapping[int, Marker]
) -> bool:
    """While keys move, a record of another old home is at home here once it has come, which is the marker's word."""
    if isinstance(judge(bucket_id, key, topology.epoch, topology, cursor), Moved):
        return False
    if not topology.moving:
        return True
    source = placement.bucket_of(key, topology.bucket_count)
    if source == bucket_id or source in topology.replaced:
        return True
    marker = markers.get(source)
    return marker is not None and marker.epoch >= topology.epoch and key < marker.end
