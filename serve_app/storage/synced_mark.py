"""How far the bucket's writes have been acknowledged, kept beside the database: `bucket-3/synced`.

A log can't say of itself that it was longer once. So after each synced batch its sequence number (RocksDB's, one for each
change) is written here, without a sync: that is one small system call, and the number is never ahead of what is on disk. A
database that opens with less has lost acknowledged writes. After a power cut the file may be as old as the kernel's last
write-back (30 s by default), and notices that much less.

Format: the database's identity (32 bytes), the sequence number (u64, big-endian), CRC32C of both (u32). What can't be read
says nothing: it is no part of the data.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

import google_crc32c

NAME = "synced"
_BODY = struct.Struct(">32sQ")
_CHECKSUM = struct.Struct(">I")


class SyncedMark:
    """The file, open for writing. `sequence` is what it said when opened, None where it said nothing of this database."""

    def __init__(self, folder: Path, identity: str) -> None:
        """Raises OSError where the file can't be opened or made."""
        self._identity = identity.encode()
        self._file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.sequence = self._read()

    def _read(self) -> int | None:
        raw = os.pread(self._file, _BODY.size + _CHECKSUM.size, 0)
        if len(raw) != _BODY.size + _CHECKSUM.size:
            return None
        body, (checksum,) = raw[: _BODY.size], _CHECKSUM.unpack(raw[_BODY.size :])
        identity, sequence = _BODY.unpack(body)
        return sequence if google_crc32c.value(body) == checksum and identity == self._identity else None

    def note(self, sequence: int) -> None:
        """A batch that ends with this sequence number is durable."""
        body = _BODY.pack(self._identity, sequence)
        with suppress(OSError):  # being behind is always allowed
            os.pwrite(self._file, body + _CHECKSUM.pack(google_crc32c.value(body)), 0)

    def close(self) -> None:
        os.close(self._file)
