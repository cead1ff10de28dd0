"""A commit: one group of a bucket's writes as one value, made durable with one sync."""

from __future__ import annotations

from typing import NamedTuple

from serve_app.changes import Change

#: Changes in the order in which they were made: (key or name, new bytes), or (key or name, None) to delete.
Changed = tuple[tuple[bytes, bytes | None], ...]


class Commit(NamedTuple):
    """What one group changed. Whoever has all of a bucket's commits in order has all of the bucket.

    sequence: one more than that of the bucket's commit before, also across crashes: it is durable in the very batch.
    records: each key that was changed once, with what it has now, in the order of their last changes. A key may be deleted
        that was not there before: it was put in the same group.
    facts: the bucket's facts that were changed; always the totals, which hold the sequence number. None of the storage's.
    changes: what watches are told of it, in order; it is in the facts too (`feed.py`).
    revision: the last that was given.
    """

    sequence: int
    records: Changed
    facts: Changed
    changes: tuple[Change, ...] = ()
    revision: int = 0
