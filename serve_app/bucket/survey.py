"""Looking at records one by one: are they where they belong? What `python -m serve_app verify` asks of each bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_app.bucket.judgement import judge
from serve_app.bucket.refusals import refused
from serve_app.errors import StorageFault
from serve_app.wire import messages

if TYPE_CHECKING:
    from serve_app.bucket.bucket import Bucket

#: One page: values are read past with their keys, and a page has to fit into its caller's deadline whatever their size.
_RECORDS_AT_ONCE = 20_000
_BYTES_AT_ONCE = 64 * 1024 * 1024
_MISPLACED_SHOWN = 100


def survey(bucket: Bucket, request: messages.Survey) -> messages.Reply:
    """Judge the next records by the bucket's own topology and cursor. Called in a reading thread.

    While keys move, a record that has come from another bucket is at home as well; that it has come is the marker's word.
    """
    topology, cursor = bucket.durable
    if topology is None:
        return messages.Moved(request.call, None)
    keys, size, misplaced, next_start = 0, 0, [], b""
    try:
        for key, raw in bucket.engine.scan(request.start):
            if keys == _RECORDS_AT_ONCE or size >= _BYTES_AT_ONCE:
                next_start = key
                break
            keys += 1
            size += len(raw)
            if isinstance(judge(bucket.bucket_id, 0, key, topology.epoch, topology, cursor), messages.Moved):
                misplaced.append(key)
    except StorageFault as error:
        bucket.note_error(error)
        return refused(request.call, error)
    return messages.Surveyed(request.call, keys, misplaced[:_MISPLACED_SHOWN], next_start, topology.epoch)
