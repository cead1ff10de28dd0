"""Dividing a window among the buckets that its keys move to, in parts that fit into messages."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from serve_app import outcomes, placement
from serve_app.cursor import possible_homes
from serve_app.resharding.moving_bucket import RawRecords
from serve_app.topology import Topology

#: What one message carries, about: a window may have grown until its intent was durable.
PART_BYTES = 8 * 1024 * 1024
_RECORD, _OUTCOME = 0, 1


class Part(NamedTuple):
    """What one new home gets of the window's keys below `end` and not below the end of the part before. Outcomes are by the
    names of their facts."""

    end: bytes
    records: list[tuple[bytes, bytes]]
    outcomes: list[tuple[bytes, bytes]]


class _Piece(NamedTuple):
    """A record or an outcome. name: what it is stored by."""

    key: bytes
    kind: int
    name: bytes
    raw: bytes


def parts_of(topology: Topology, own: int, records: RawRecords, kept: RawRecords, end: bytes) -> dict[int, list[Part]]:
    """What each possible new home gets, split where it is large; the last part goes to the window's end.

    records, kept: the window's records and outcomes, in order.
    """
    pieces: dict[int, list[_Piece]] = {home: [] for home in possible_homes(topology, own)}
    named = (_Piece(key, _RECORD, key, raw) for key, raw in records)
    told = (_Piece(outcomes.key_in(name), _OUTCOME, name, raw) for name, raw in kept)
    for piece in heapq.merge(named, told):
        pieces[placement.bucket_of(piece.key, topology.target_count)].append(piece)
    return {home: list(_split(some, end)) for home, some in pieces.items()}


def _split(pieces: list[_Piece], end: bytes) -> Iterator[Part]:
    part: list[_Piece] = []
    size = 0
    for piece in pieces:
        length = len(piece.name) + len(piece.raw)
        # All that belongs to a key is in one part, for its end says that the key is there.
        if part and size + length > PART_BYTES and piece.key != part[-1].key:
            yield _part(piece.key, part)
            part, size = [], 0
        part.append(piece)
        size += length
    yield _part(end, part)


def _part(end: bytes, pieces: list[_Piece]) -> Part:
    by_kind: tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]] = ([], [])
    for piece in pieces:
        by_kind[piece.kind].append((piece.name, piece.raw))
    return Part(end, *by_kind)
