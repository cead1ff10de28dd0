"""How far a move has come: what a bucket persists of it, as a source and as a target.

Of the keys whose old home is this bucket, in the order of their bytes, those below the position have moved to their new
home (or stay, where it is the same); those at or above it are still this bucket's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from serve_app.topology import Topology

#: Above every key: UTF-8 has no byte 0xFF.
END = b"\xff"


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """A source's progress in the move of one epoch.

    position: the first key that has not moved, `END` when all have.
    intent_end: the end of the window [position, intent_end) that is being moved, empty where none is. Once this is
        durable, the window's bounds and records stay as they are until it has moved.
    moved_keys, moved_bytes: what has left so far.
    keys_at_start, bytes_at_start: what the bucket had when the move began.
    """

    epoch: int
    position: bytes = b""
    intent_end: bytes = b""
    moved_keys: int = 0
    moved_bytes: int = 0
    keys_at_start: int = 0
    bytes_at_start: int = 0

    @property
    def done(self) -> bool:
        return self.position == END

    def in_window(self, key: bytes) -> bool:
        """Whether the key lies in the window that is being moved."""
        return self.position <= key < self.intent_end


class Marker(msgspec.Struct, frozen=True, array_like=True):
    """What a target has taken from one source: every window up to `end` in the move of this epoch."""

    epoch: int
    end: bytes


def cursor_for(
    new: Topology, bucket_id: int, old: Topology | None, cursor: Cursor | None, keys: int, size_bytes: int
) -> Cursor:
    """The cursor with which a bucket that has this many keys and bytes installs a topology, given what it had."""
    if old is not None and cursor is not None and cursor.epoch == old.epoch and old.same_move(new):
        return msgspec.structs.replace(cursor, epoch=new.epoch)
    # A storage that takes another one's place in a move has nothing: what that had is lost, or has moved already.
    nothing_to_move = not new.moving or bucket_id >= new.bucket_count or bucket_id in new.replaced
    return Cursor(new.epoch, END if nothing_to_move else b"", keys_at_start=keys, bytes_at_start=size_bytes)


def markers_for(new: Topology, old: Topology | None, markers: Mapping[int, Marker]) -> dict[int, Marker]:
    """The markers with which a bucket installs a topology: those of the very same move, under the new epoch."""
    if old is None or not old.same_move(new):
        return {}
    return {source: Marker(new.epoch, marker.end) for source, marker in markers.items() if marker.epoch == old.epoch}


def expected_to_move(topology: Topology, bucket_id: int, count: int) -> int:
    """How many of a bucket's keys, or of their bytes, will leave it in the move, as far as the hash is even.

    A key of bucket b can go to the buckets that are b modulo gcd(M, N), each as likely.
    """
    if not topology.moving or bucket_id >= topology.bucket_count:
        return 0
    stays = bucket_id < topology.target_count
    possible = len(possible_homes(topology, bucket_id)) + stays
    return count - count // possible if stays else count


def possible_homes(topology: Topology, bucket_id: int) -> list[int]:
    """The other buckets to which keys of this one can move: h = b (mod M) and h = c (mod N) have a common solution
    exactly where b = c (mod gcd(M, N))."""
    step = math.gcd(topology.bucket_count, topology.target_count)
    return [home for home in range(bucket_id % step, topology.target_count, step) if home != bucket_id]
