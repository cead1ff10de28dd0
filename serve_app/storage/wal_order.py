"""Whether a database's logs are all there and in their order, told before RocksDB replays them.

Every batch starts with its sequence number (u64, little-endian) and the number of its changes (u32), which is how many
numbers it takes; RocksDB gives out none that is not logged. So the batches of the logs that are still needed follow each
other without a gap, and never fall, not even into logs that are no longer needed and may have gone in any order.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from serve_app.errors import StorageDamaged
from serve_app.storage import wal
from serve_app.storage.manifest import read_manifest

_BATCH = struct.Struct("<QI")


@dataclass(frozen=True)
class LogSpan:
    """first: sequence number of the log's first change; after: that behind its last whole batch, which ends at byte `end`."""

    path: Path
    first: int
    after: int
    end: int


def check_logs(database: Path, max_batch_bytes: int) -> None:
    """Look only at the ends of each log: it takes no time that grows with them.

    Raises:
        StorageDamaged: a log is missing, out of order, or ends in more than one batch that can't be read.
    """
    logs = wal.log_files(database)
    spans = [span for path in logs if (span := _span(path)) is not None]
    for one, next_one in pairwise(spans):
        if next_one.first < one.after:
            raise StorageDamaged(
                f"{next_one.path} holds older changes than {one.path.name} before it (from number {next_one.first:,}, where "
                f"{one.after:,} was to follow): logs have changed places, or one of them was copied from somewhere"
            )
    manifest = read_manifest(database)
    needed = [span for span in spans if manifest is not None and int(span.path.stem) >= manifest.first_log]
    for one, next_one in pairwise(needed):
        if next_one.first > one.after:
            _refuse_gap(database, next_one, one.after)
    if needed and manifest is not None and needed[0].first > manifest.last_sequence + 1:
        _refuse_gap(database, needed[0], manifest.last_sequence + 1)
    ends = {span.path: span.end for span in spans}
    for path in logs:
        tail_bytes = path.stat().st_size - ends.get(path, 0)
        if tail_bytes > max_batch_bytes:
            raise StorageDamaged(
                f"{path} can't be read from byte {ends.get(path, 0)} on, {tail_bytes:,} bytes: more than one batch may have "
                f"({max_batch_bytes:,}), so acknowledged data has been hit"
            )


def _refuse_gap(database: Path, log: LogSpan, expected: int) -> None:
    damage = wal.find_damage(database)
    if damage is not None:
        damage.refuse_unless_tail()
    raise StorageDamaged(
        f"{log.path} starts with change number {log.first:,}, where {expected:,} was to follow: a log before it is "
        f"missing or was cut off"
    )


def _span(path: Path) -> LogSpan | None:
    """None where the log holds no whole batch."""
    if not path.stat().st_size:
        return None
    with path.open("rb") as log, mmap.mmap(log.fileno(), 0, access=mmap.ACCESS_READ) as data:
        first, last = next(wal.batches(data), None), wal.last_batch(data)
        if first is None or last is None or min(len(first.payload), len(last.payload)) < _BATCH.size:
            return None
        sequence, count = _BATCH.unpack_from(last.payload)
        return LogSpan(path, _BATCH.unpack_from(first.payload)[0], sequence + count, last.end)
