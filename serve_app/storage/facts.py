"""The bucket's facts: what a bucket knows of itself, beside its records and changed in the same batches.

| name       | bytes |
| ---------- | ----- |
| `format`   | ASCII decimal, the version of this layout |
| `bucket`   | ASCII decimal, the bucket id the database was made for |
| `identity` | 32 hex digits, random, made with the database |
| `totals`   | three u64, big-endian: keys, bytes (keys and values), last revision |
| `topology` | msgpack of `topology.Topology` |
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from serve_app.errors import StorageDamaged, StorageForeign, StorageNewer
from serve_app.storage.engine import Engine
from serve_app.topology import Topology

FORMAT = 1

_TOTALS = struct.Struct(">QQQ")
_topology_decoder = msgspec.msgpack.Decoder(Topology)


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


def totals_fact(totals: Totals) -> tuple[bytes, bytes]:
    """The change that makes the counts durable."""
    return b"totals", _TOTALS.pack(*totals)


def first_facts(bucket_id: int) -> list[tuple[bytes, bytes | None]]:
    """What a new database holds before anything else."""
    return [
        (b"format", b"%d" % FORMAT),
        (b"bucket", b"%d" % bucket_id),
        (b"identity", uuid.uuid4().hex.encode()),
        totals_fact(Totals(0, 0, 0)),
    ]


def topology_fact(topology: Topology) -> tuple[bytes, bytes]:
    """The change that makes a topology durable."""
    return b"topology", msgspec.msgpack.encode(topology)


def read_facts(engine: Engine, bucket_id: int, where: str) -> Facts:
    """The facts of an open database, checked to be this bucket's.

    Raises:
        StorageNewer: the format is of a newer release.
        StorageForeign: it is not a bucket's database, or another bucket's.
        StorageDamaged: a fact is missing or malformed.
    """
    found = {name: engine.get_fact(name) for name in (b"format", b"bucket", b"identity", b"totals", b"topology")}
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
    raw = found[b"topology"]
    try:
        topology = None if raw is None else _topology_decoder.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StorageDamaged(f"{where}: the stored topology can't be read: {error}") from error
    return Facts(bucket_id, identity.decode(), Totals(*_TOTALS.unpack(totals)), topology)
