"""Whether a bucket serves an operation: the rule on which the safety of a move rests.

A bucket serves an operation only if it is the key's home now, under the topology and cursor that it has itself persisted.
The one thing it can't see is another bucket's cursor: so an operation on a key that has moved here carries the epoch in which
its directory learned that, and is carried out in that very epoch only. Cursors only advance within an epoch, so what was
learned stays true in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from serve_app import placement
from serve_app.cursor import Cursor
from serve_app.topology import Topology
from serve_app.wire.messages import Moved


class Hold:
    """The type of `HOLD`."""


#: The key is just being moved: the operation waits until that is over, and is judged again.
HOLD = Hold()


def judge_all(
    bucket_id: int, keys: Sequence[bytes], epoch: int, topology: Topology | None, cursor: Cursor | None
) -> list[Moved | Hold | None]:
    """`judge` for each of many keys: where none move that is one comparison."""
    if topology is None or topology.moving:
        return [judge(bucket_id, key, epoch, topology, cursor) for key in keys]
    homes = placement.buckets_of(keys, topology.bucket_count)
    if homes.count(bucket_id) == len(homes):
        return [None] * len(homes)
    moved = Moved(topology)
    return [None if home == bucket_id else moved for home in homes]


def judge(
    bucket_id: int, key: bytes, epoch: int, topology: Topology | None, cursor: Cursor | None
) -> Moved | Hold | None:
    """None where the bucket serves the key, `HOLD`, or what it knows of the key's home.

    epoch: that of the operation's claim that the key has moved here, or 0.
    """
    if topology is None:
        return Moved(None)
    hashed = placement.stable_hash(key)
    old_home = hashed % topology.bucket_count
    if not topology.moving:
        return None if old_home == bucket_id else Moved(topology)
    new_home = hashed % topology.target_count
    if old_home == bucket_id:
        if new_home == bucket_id:
            return None
        assert cursor is not None, "a topology is installed with its cursor"
        assert cursor.epoch == topology.epoch, "a topology is installed with its cursor"
        if key < cursor.position:
            return Moved(topology, cursor.position)
        return HOLD if cursor.in_window(key) else None
    if new_home == bucket_id and epoch == topology.epoch:
        return None
    return Moved(topology)
