"""Reading RocksDB's write-ahead log, only to judge damage: is it the torn end of the last batch, or acknowledged data?

RocksDB syncs a batch before it is acknowledged, and the next is written after that sync. So a power cut can only tear the
last batch, and damage with nothing intact behind it can be set aside; damage with an intact record behind it has hit data
that was acknowledged, and the storage must be refused.

Format (RocksDB wiki, "Write Ahead Log File Format"): blocks of 32 KiB; records of a masked CRC32C (4 bytes, little-endian,
over type and payload), length (2), type (1) and payload; a batch is one FULL record or FIRST, MIDDLE…, LAST, one a block.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from serve_app.errors import StorageDamaged

Buffer = bytes | mmap.mmap
BLOCK_BYTES = 32 * 1024
_LOG = re.compile(r"[0-9]+\.log")
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
# Records about the log itself (compression, timestamps, predecessor): no batch, but whole ones are no damage either.
_ABOUT_THE_LOG = frozenset({9, 10, 130})


@dataclass(frozen=True)
class LogDamage:
    """Where a log stops being readable.

    offset: the byte at which the damaged batch starts.
    intact_offset: where the next whole batch behind it starts, or None: then the damage is the log's tail.
    """

    path: Path
    offset: int
    intact_offset: int | None

    def refuse_unless_tail(self) -> None:
        """Raises StorageDamaged where intact records follow."""
        if self.intact_offset is not None:
            raise StorageDamaged(
                f"{self.path} is damaged at byte {self.offset}, and intact records follow at byte "
                f"{self.intact_offset}: acknowledged data has been hit"
            )


def find_damage(folder: Path) -> LogDamage | None:
    """The first damage in the folder's logs, or None where every record in them is whole or merely cut off at the end."""
    logs = log_files(folder)
    for index, path in enumerate(logs):
        data = path.read_bytes()
        start = _first_damage(data)
        if start is None:
            continue
        intact = _next_intact(data, start + 1)
        if intact is None and any(_next_intact(later.read_bytes(), 0) is not None for later in logs[index + 1 :]):
            intact = len(data)  # behind this file's end, in a later one
        return LogDamage(path, start, intact)
    return None


def log_files(folder: Path) -> list[Path]:
    """The logs in a database's folder, oldest first. RocksDB's names alone: `000012 copy.log` is none of its files."""
    return sorted((path for path in folder.glob("*.log") if _LOG.fullmatch(path.name)), key=lambda path: int(path.stem))


def set_tail_aside(damage: LogDamage, keep_in: Path) -> Path:
    """Copy the damaged tail into `keep_in` (made if need be), then cut it off the log. Durable when it returns.

    Raises:
        ValueError: intact records follow the damage: it is no tail.
    """
    if damage.intact_offset is not None:
        raise ValueError(f"{damage.path} has intact records at byte {damage.intact_offset}")
    keep_in.mkdir(exist_ok=True)
    copy = keep_in / f"{damage.path.name}.from-byte-{damage.offset}.{time.time_ns()}"
    with damage.path.open("r+b") as log, copy.open("xb") as kept:
        log.seek(damage.offset)
        kept.write(log.read())
        kept.flush()
        os.fsync(kept.fileno())
        sync_folder(keep_in)
        sync_folder(keep_in.parent)
        log.truncate(damage.offset)
        os.fsync(log.fileno())
    return copy


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable (fsync of a directory, as fsync(2) asks for after creating a file in it)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Batch:
    """A whole batch: where it starts and ends, and its bytes."""

    start: int
    end: int
    payload: bytes


def batches(data: Buffer) -> Iterator[Batch]:
    """The batches from the log's start on, to the first that is not whole."""
    position = 0
    while (found := _batch_at(data, position)) is not None:
        yield found
        position = found.end


def last_batch(data: Buffer) -> Batch | None:
    """The last whole batch. A record starts at the start of each block, so it is looked for block by block from the end."""
    for block in range((len(data) - 1) // BLOCK_BYTES, -1, -1):
        starts = []
        position = block * BLOCK_BYTES
        while position + _HEADER.size <= len(data) and position // BLOCK_BYTES == block:
            kind = _whole_record(data, position)
            if kind is None:
                break
            if kind in (_FULL, _FIRST):
                starts.append(position)
            position += _HEADER.size + _HEADER.unpack_from(data, position)[1]
        for start in reversed(starts):
            if (found := _batch_at(data, start)) is not None:
                return found
    return None


def _batch_at(data: Buffer, position: int) -> Batch | None:
    """The whole batch that starts at `position`, behind records about the log and a block's unused end."""
    start, begun, payload = position, False, b""
    while True:
        room = BLOCK_BYTES - position % BLOCK_BYTES
        if room < _HEADER.size:
            position += room
            continue
        kind = _whole_record(data, position) if position + _HEADER.size <= len(data) else None
        if kind is None or (kind in (_MIDDLE, _LAST)) != begun:
            return None
        end = position + _HEADER.size + _HEADER.unpack_from(data, position)[1]
        if kind not in _ABOUT_THE_LOG:
            start = start if begun else position
            begun = True
            payload += data[position + _HEADER.size : end]
        if kind in (_FULL, _LAST):
            return Batch(start, end, payload)
        position = end


def _first_damage(data: bytes) -> int | None:
    """Where the first batch that is not whole starts, or None. A batch cut off by the file's end is not damage."""
    batch_start: int | None = None
    position = 0
    while position < len(data):
        room = BLOCK_BYTES - position % BLOCK_BYTES
        if room < _HEADER.size:
            position += room  # a block's unused end
            continue
        if position + _HEADER.size > len(data):
            return None
        kind = _whole_record(data, position)
        length = _HEADER.unpack_from(data, position)[1]
        if kind is None:
            cut_off = position + _HEADER.size + length > len(data) and _HEADER.size + length <= room
            if cut_off and data[position + 6] in (_FULL, _FIRST, _MIDDLE, _LAST):
                return None
            return position if batch_start is None else batch_start
        if kind in (_MIDDLE, _LAST) and batch_start is None:
            return position
        if kind in (_FULL, _FIRST) and batch_start is not None:
            return batch_start
        if kind == _FIRST:
            batch_start = position
        elif kind == _LAST:
            batch_start = None
        position += _HEADER.size + length
    return None


def _next_intact(data: bytes, position: int) -> int | None:
    """Where the first whole batch at or behind `position` starts, or None.

    After damage the next record's place is not known, so every byte is tried until one fits; a record that fits by
    chance would need a matching CRC32C.
    """
    while position + _HEADER.size <= len(data):
        kind = _whole_record(data, position)
        if kind == _FULL or (kind == _FIRST and _chain_is_whole(data, position)):
            return position
        position += 1
    return None


def _chain_is_whole(data: bytes, first: int) -> bool:
    return any(kind == _LAST for kind in _chain(data, first))


def _chain(data: bytes, position: int) -> Iterator[int]:
    """The kinds of the fragments behind a FIRST one, as long as they are whole and continue it."""
    while True:
        position += _HEADER.size + _HEADER.unpack_from(data, position)[1]
        if BLOCK_BYTES - position % BLOCK_BYTES < _HEADER.size:
            position += BLOCK_BYTES - position % BLOCK_BYTES
        kind = _whole_record(data, position) if position + _HEADER.size <= len(data) else None
        if kind not in (_MIDDLE, _LAST):
            return
        yield kind
        if kind == _LAST:
            return


def _whole_record(data: Buffer, position: int) -> int | None:
    """The type of the record at `position` if its length fits and its checksum matches, else None."""
    checksum, length, kind = _HEADER.unpack_from(data, position)
    end = position + _HEADER.size + length
    if not _FULL <= kind <= _LAST and kind not in _ABOUT_THE_LOG:
        return None
    if end > len(data) or position % BLOCK_BYTES + _HEADER.size + length > BLOCK_BYTES:
        return None
    crc = google_crc32c.value(data[position + 6 : end])
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return kind if masked == checksum else None
