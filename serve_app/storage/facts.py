"""Facts: what a storage and its bucket know beside the records, changed in the same batches.

Those of the storage say which storage it is, and stay with it. Those of the bucket follow its records to any copy of them.

| name | bytes |
| --- | --- |
| `format` | ASCII decimal, the version of this layout; under this name in every version, so that any release can tell |
| `storage.identity` | 32 hex digits, random, made with the storage |
| `storage.bucket` | ASCII decimal, the bucket id the storage was made for |
| `storage.vote` | msgpack of `ballots.Vote`: what it has promised and accepted of what is to follow its topology |
| `bucket.totals` | five u64, big-endian: keys, bytes (keys and values), last revision, number of the last commit, outcomes |
| `bucket.topology` | msgpack of `topology.Topology` |
| `bucket.cursor` | msgpack of `cursor.Cursor`: how far this bucket's keys have moved |
| `bucket.markers` | msgpack of {source bucket: `cursor.Marker`}: what this bucket has taken from others |
| `bucket.feed`, `bucket.changes/…` | what watches are told (`feed.py`) |
| `bucket.due/…` | what is to be deleted when its time has come (`due.py`) |
| `bucket.outcome/…` | what came of requests that may be repeated (`serve_app/outcomes.py`) |
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import msgspec

from serve_app.ballots import Vote
from serve_app.cursor import Cursor, Marker
from serve_app.errors import StorageDamaged, StorageForeign, StorageNewer
from serve_app.records import HEADER_BYTES
from serve_app.storage.extent import EXTENT, Extent, read_extent
from serve_app.topology import Topology

FORMAT = 3
FORMAT_NAME = b"format"
_FORMAT_DIGITS = 9
IDENTITY, OWNER, VOTE = b"storage.identity", b"storage.bucket", b"storage.vote"
#: Every fact of the bucket begins with it.
OF_BUCKET = b"bucket."
#: And every fact of the storage itself, but its format.
OF_STORAGE = b"storage."
TOTALS, TOPOLOGY, CURSOR, MARKERS = b"bucket.totals", b"bucket.topology", b"bucket.cursor", b"bucket.markers"

#: A storage's facts: a fact's bytes by its name, None where there is none.
Stored = Callable[[bytes], bytes | None]
T = TypeVar("T")

_TOTALS = struct.Struct(">QQQQQ")
_topology_decoder = msgspec.msgpack.Decoder(Topology)
_cursor_decoder = msgspec.msgpack.Decoder(Cursor)
_vote_decoder = msgspec.msgpack.Decoder(Vote)
_markers_decoder = msgspec.msgpack.Decoder(dict[int, Marker])


class Totals(NamedTuple):
    """Exact counts, kept up to date by every batch. `bytes` counts keys and values, not what the disk adds.

    revision: the last that was given. sequence: of the last commit; 0 where there was none. outcomes: of requests that may be
    repeated, with those whose time has come and that are not deleted yet.
    """

    keys: int
    bytes: int
    revision: int
    sequence: int = 0
    outcomes: int = 0


@dataclass(frozen=True)
class StorageFacts:
    """Which storage this is, and what it has said as an acceptor, as read when it opened."""

    bucket_id: int
    identity: str
    vote: Vote | None = None


@dataclass(frozen=True)
class BucketFacts:
    """What the bucket knows of itself, as read when its storage opened. All of it was written with the records."""

    totals: Totals
    topology: Topology | None = None
    cursor: Cursor | None = None
    markers: dict[int, Marker] = field(default_factory=dict)
    feed: Extent = Extent()  # noqa: RUF009 - it is immutable


def totals_fact(totals: Totals) -> tuple[bytes, bytes]:
    """The change that makes the counts durable."""
    return TOTALS, _TOTALS.pack(*totals)


def first_facts(bucket_id: int, identity: str = "") -> list[tuple[bytes, bytes | None]]:
    """What a new storage holds before anything else. identity is made up at random where none is given."""
    return [
        (FORMAT_NAME, b"%d" % FORMAT),
        (OWNER, b"%d" % bucket_id),
        (IDENTITY, (identity or uuid.uuid4().hex).encode()),
        totals_fact(Totals(0, 0, 0)),
    ]


def topology_fact(topology: Topology) -> tuple[bytes, bytes]:
    """The change that makes a topology durable."""
    return TOPOLOGY, msgspec.msgpack.encode(topology)


def cursor_fact(cursor: Cursor) -> tuple[bytes, bytes]:
    """The change that makes a cursor durable."""
    return CURSOR, msgspec.msgpack.encode(cursor)


def markers_fact(markers: dict[int, Marker]) -> tuple[bytes, bytes]:
    """The change that makes markers durable."""
    return MARKERS, msgspec.msgpack.encode(markers)


def vote_fact(vote: Vote) -> tuple[bytes, bytes]:
    """The change that makes a vote durable."""
    return VOTE, msgspec.msgpack.encode(vote)


def read_storage_facts(stored: Stored, bucket_id: int, where: str) -> StorageFacts:
    """The facts of an open storage of this very format, checked to be this bucket's. where: names it in errors.

    Raises:
        StorageNewer: the format is of a newer release.
        StorageForeign: it is not a bucket's storage, or another bucket's.
        StorageDamaged: a fact is missing or malformed.
    """
    layout, owner, identity = stored(FORMAT_NAME), stored(OWNER), stored(IDENTITY)
    if layout is None:
        raise StorageForeign(f"{where} is a database but not a bucket's: it has no format")
    if not layout.isdigit() or len(layout) > _FORMAT_DIGITS:
        raise StorageDamaged(f"{where}: the format {layout[: 2 * _FORMAT_DIGITS]!r} is not the number of one")
    if int(layout) > FORMAT:
        raise StorageNewer(f"{where} has format {int(layout)}, made by a newer release; this one knows up to {FORMAT}")
    if int(layout) < FORMAT:
        raise StorageDamaged(f"{where} has format {int(layout)}, which no release has made")
    if owner is None or identity is None:
        raise StorageDamaged(f"{where}: a fact of the storage's own is missing")
    owner_id, own_identity = _text(owner, OWNER, where), _text(identity, IDENTITY, where)
    if owner_id != str(bucket_id):
        raise StorageForeign(f"{where} belongs to bucket-{owner_id}, not bucket-{bucket_id}")
    return StorageFacts(bucket_id, own_identity, _decoded(stored, VOTE, _vote_decoder, where))


def read_bucket_facts(stored: Stored, where: str) -> BucketFacts:
    """The bucket's facts in an open storage of this very format. where: names it in errors.

    Raises:
        StorageDamaged: a fact is missing or malformed.
    """
    totals = stored(TOTALS)
    if totals is None or len(totals) != _TOTALS.size:
        raise StorageDamaged(f"{where}: the bucket's counts are missing")
    counted = Totals(*_TOTALS.unpack(totals))
    if not _can_be(counted):
        raise StorageDamaged(f"{where}: the count of {counted.keys:,} keys, {counted.bytes:,} bytes can't be")
    cursor = _decoded(stored, CURSOR, _cursor_decoder, where)
    feed = read_extent(stored(EXTENT), where)
    return BucketFacts(counted, read_topology(stored, where), cursor, read_markers(stored, where), feed)


def read_topology(stored: Stored, where: str) -> Topology | None:
    """The bucket's topology alone. Raises StorageDamaged."""
    return _decoded(stored, TOPOLOGY, _topology_decoder, where)


def read_markers(stored: Stored, where: str) -> dict[int, Marker]:
    """The bucket's markers alone. Raises StorageDamaged."""
    return _decoded(stored, MARKERS, _markers_decoder, where) or {}


def _can_be(totals: Totals) -> bool:
    """A number below zero has wrapped; a key has a byte, its record a header; and a bucket with keys has given a revision."""
    if max(totals) >= 1 << 63:
        return False
    if totals.keys == 0:
        return totals.bytes == 0
    return totals.bytes >= totals.keys * (1 + HEADER_BYTES) and totals.revision > 0


def _text(raw: bytes, name: bytes, where: str) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise StorageDamaged(f"{where}: the stored {name.decode()} can't be read: {error}") from error


def _decoded(stored: Stored, name: bytes, decoder: msgspec.msgpack.Decoder[T], where: str) -> T | None:
    raw = stored(name)
    try:
        return None if raw is None else decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        # ValidationError is a DecodeError; a field that we don't know may be nested deeply.
        raise StorageDamaged(f"{where}: the stored {name.decode()} can't be read: {error}") from error
