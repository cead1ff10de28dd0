"""The bucket's facts: what a bucket knows of itself, beside its records and changed in the same batches.

| name       | bytes |
| ---------- | ----- |
| `format`   | ASCII decimal, the version of this layout |
| `bucket`   | ASCII decimal, the bucket id the database was made for |
| `identity` | 32 hex digits, random, made with the database |
| `totals`   | three u64, big-endian: keys, bytes (keys and values), last revision |
| `topology` | msgpack of `topology.Topology` |
| `cursor`   | msgpack of `cursor.Cursor`: how far this bucket's keys have moved |
| `markers`  | msgpack of {source bucket: `cursor.Marker`}: what this bucket has taken from others |
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import msgspec

from serve_app.cursor import Cursor, Marker
from serve_app.errors import StorageDamaged, StorageForeign, StorageNewer
from serve_app.storage.engine import Engine
from serve_app.storage.records import HEADER_BYTES
from serve_app.topology import Topology

FORMAT = 1

T = TypeVar("T")

_TOTALS = struct.Struct(">QQQ")
_topology_decoder = msgspec.msgpack.Decoder(Topology)
_cursor_decoder = msgspec.msgpack.Decoder(Cursor)
_markers_decoder = msgspec.msgpack.Decoder(dict[int, Marker])


class Totals(NamedTuple):
    """Exact counts, kept up to date by every batch. `bytes` counts keys and values, not what the disk adds."""

    keys: int
    bytes: int
    revision: int


@dataclass(frozen=True)
class Facts:
    """All facts as read when the storage opened."""

    bucket_id: int
    identity: str
    totals: Totals
    topology: Topology | None
    cursor: Cursor | None = None
    markers: dict[int, Marker] = field(default_factory=dict)


def totals_fact(totals: Totals) -> tuple[bytes, bytes]:
    """The change that makes the counts durable."""
    return b"totals", _TOTALS.pack(*totals)


def first_facts(bucket_id: int, identity: str = "") -> list[tuple[bytes, bytes | None]]:
    """What a new database holds before anything else. identity is made up at random where none is given."""
    return [
        (b"format", b"%d" % FORMAT),
        (b"bucket", b"%d" % bucket_id),
        (b"identity", (identity or uuid.uuid4().hex).encode()),
        totals_fact(Totals(0, 0, 0)),
    ]


def topology_fact(topology: Topology) -> tuple[bytes, bytes]:
    """The change that makes a topology durable."""
    return b"topology", msgspec.msgpack.encode(topology)


def cursor_fact(cursor: Cursor) -> tuple[bytes, bytes]:
    """The change that makes a cursor durable."""
    return b"cursor", msgspec.msgpack.encode(cursor)


def markers_fact(markers: dict[int, Marker]) -> tuple[bytes, bytes]:
    """The change that makes markers durable."""
    return b"markers", msgspec.msgpack.encode(markers)


def read_facts(engine: Engine, bucket_id: int, where: str) -> Facts:
    """The facts of an open database, checked to be this bucket's.

    Raises:
        StorageNewer: the format is of a newer release.
        StorageForeign: it is not a bucket's database, or another bucket's.
        StorageDamaged: a fact is missing or malformed.
    """
    found = {name: engine.get_fact(name) for name in (b"format", b"bucket", b"identity", b"totals")}
    layout = found[b"format"]
    if layout is None:
        raise StorageForeign(f"{where} is a database but not a bucket's: it has no format")
    if not layout.isdigit():
        raise StorageDamaged(f"{where}: the format {layout!r} is not a number")
    if int(layout) > FORMAT:
        raise StorageNewer(f"{where} has format {int(layout)}, made by a newer release; this one knows up to {FORMAT}")
    owner, identity, totals = found[b"bucket"], found[b"identity"], found[b"totals"]
    if owner is None or identity is None or totals is None or len(totals) != _TOTALS.size:
        raise StorageDamaged(f"{where}: a fact of the bucket's own is missing")
    if owner != b"%d" % bucket_id:
        raise StorageForeign(f"{where} belongs to bucket-{owner.decode()}, not bucket-{bucket_id}")
    counted = Totals(*_TOTALS.unpack(totals))
    if not _can_be(counted):
        raise StorageDamaged(f"{where}: the count of {counted.keys:,} keys, {counted.bytes:,} bytes can't be")
    topology = _decoded(engine, b"topology", _topology_decoder, where)
    cursor = _decoded(engine, b"cursor", _cursor_decoder, where)
    markers = _decoded(engine, b"markers", _markers_decoder, where)
    return Facts(bucket_id, identity.decode(), counted, topology, cursor, markers or {})


def _can_be(totals: Totals) -> bool:
    """A number below zero has wrapped; a key has a byte, its record a header; and a bucket with keys has given a revision."""
    if max(totals) >= 1 << 63:
        return False
    if totals.keys == 0:
        return totals.bytes == 0
    return totals.bytes >= totals.keys * (1 + HEADER_BYTES) and totals.revision > 0


def _decoded(engine: Engine, name: bytes, decoder: msgspec.msgpack.Decoder[T], where: str) -> T | None:
    raw = engine.get_fact(name)
    try:
        return None if raw is None else decoder.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StorageDamaged(f"{where}: the stored {name.decode()} can't be read: {error}") from error
