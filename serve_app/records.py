"""The bytes of one record on disk.

Layout (big-endian): version u8, revision u64, created, modified and expiry u64 each (milliseconds since the Unix epoch;
expiry 0 means never), length of the content type u8, content type (UTF-8), value (the rest). RocksDB checksums the block
around it, so there is no checksum here.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from serve_app.errors import StorageDamaged, StorageNewer

RECORD_VERSION = 1
_HEADER = struct.Struct(">BQQQQB")
HEADER_BYTES = _HEADER.size
_CREATION, _EXPIRY = slice(9, 17), slice(25, 33)
_NEVER = bytes(8)


class Record(NamedTuple):
    """What a bucket stores for a key. Times are milliseconds since the Unix epoch; expires_ms 0 means never."""

    value: bytes
    content_type: str
    revision: int
    created_ms: int
    modified_ms: int
    expires_ms: int = 0


class Header(NamedTuple):
    """What stands before the value, and how long that is (bytes)."""

    size: int
    content_type: str
    revision: int
    created_ms: int
    modified_ms: int
    expires_ms: int


def encode(record: Record) -> bytes:
    """The bytes to store. The content type takes at most 255 bytes of UTF-8."""
    content_type = record.content_type.encode("utf-8")
    header = _HEADER.pack(
        RECORD_VERSION,
        record.revision,
        record.created_ms,
        record.modified_ms,
        record.expires_ms,
        len(content_type),
    )
    return header + content_type + record.value


def decode(raw: bytes) -> Record:
    """The record in `raw`.

    Raises:
        StorageDamaged: the bytes are too short to be a record.
        StorageNewer: a version this release does not know.
    """
    start, content_type, revision, created_ms, modified_ms, expires_ms = parts(raw)
    return Record(raw[start:], content_type, revision, created_ms, modified_ms, expires_ms)


def header(raw: bytes) -> Header:
    """All but the value, which is not copied. Raises as `decode`."""
    start, content_type, revision, created_ms, modified_ms, expires_ms = parts(raw)
    return Header(len(raw) - start, content_type, revision, created_ms, modified_ms, expires_ms)


def parts(raw: bytes) -> tuple[int, str, int, int, int, int]:
    """Where the value begins, and what `header` has beside its size, as a plain tuple: many are read together. Raises as
    `decode`."""
    if len(raw) < HEADER_BYTES:
        raise StorageDamaged(f"a record of {len(raw)} bytes is shorter than a record's header")
    version, revision, created_ms, modified_ms, expires_ms, type_bytes = _HEADER.unpack_from(raw)
    if version != RECORD_VERSION:
        raise StorageNewer(f"a record has version {version}; this release knows version {RECORD_VERSION}")
    start = HEADER_BYTES + type_bytes
    if len(raw) < start:
        raise StorageDamaged("a record ends inside its content type")
    try:
        content_type = raw[HEADER_BYTES:start].decode("utf-8")
    except UnicodeDecodeError:
        raise StorageDamaged("a record's content type is not UTF-8") from None
    return start, content_type, revision, created_ms, modified_ms, expires_ms


def created_ms(raw: bytes) -> int:
    """Only when a stored record was created: what a put needs of the old one. Raises as `decode`."""
    if len(raw) < HEADER_BYTES or raw[0] != RECORD_VERSION:
        return header(raw).created_ms  # which says what is wrong
    return int.from_bytes(raw[_CREATION], "big")


def expires_ms(raw: bytes) -> int:
    """Only when a stored record expires; 0 means never. It is looked at with every read and write, so it checks nothing:
    what is too short to be a record never expires."""
    expiry = raw[_EXPIRY]
    return 0 if expiry == _NEVER else int.from_bytes(expiry, "big")


def is_text(value: bytes) -> bool:
    """Whether a value is UTF-8."""
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
