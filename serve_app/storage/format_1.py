"""Taking over a storage of format 1, in which facts of the storage and of the bucket had no prefixes, and commits no numbers.

| format 1 | format 2 |
| --- | --- |
| `identity`, `bucket` | `storage.identity`, `storage.bucket` |
| `topology`, `cursor`, `markers` | `bucket.topology`, `bucket.cursor`, `bucket.markers` |
| `totals`: three u64, keys, bytes, last revision | `bucket.totals`: the same and the sequence number of the last commit |

All of it is one batch, so a storage is of the one format or of the other. The records stay as they are.

The numbers of commits go on from the last revision, but not from 0. Nobody has been given a number of this bucket yet, so
none falls by that; and it can't fall later either: revisions never do, and the batch makes both durable. Where a take-over is
interrupted and the earlier release goes on writing, the next one starts no lower. 0 means a bucket without any commit:
whoever has seen all commits since 0 may believe to have seen all there is. One that was never written to has revision 0, and
may have a topology.
"""

from __future__ import annotations

import struct

from serve_app.storage import facts
from serve_app.storage.engine import Changes
from serve_app.storage.facts import Stored

TOPOLOGY = b"topology"
_TOTALS = b"totals"
_RENAMED = {
    b"identity": facts.IDENTITY,
    b"bucket": facts.OWNER,
    TOPOLOGY: facts.TOPOLOGY,
    b"cursor": facts.CURSOR,
    b"markers": facts.MARKERS,
}
_OLD_TOTALS = struct.Struct(">QQQ")


def take_over(stored: Stored) -> Changes:
    """The changes of facts that make a storage of format 1 one of format 2; empty where it is of another.

    Nothing is judged here: what is missing or malformed stays so under its new name, where reading the facts finds it.
    """
    if stored(facts.FORMAT_NAME) != b"1":
        return []
    changes: list[tuple[bytes, bytes | None]] = [(facts.FORMAT_NAME, b"2")]
    for old, new in _RENAMED.items():
        changes += _moved(old, new, stored(old))
    totals = stored(_TOTALS)
    if totals is not None and len(totals) == _OLD_TOTALS.size:
        keys, size, revision = _OLD_TOTALS.unpack(totals)
        totals = facts.totals_fact(facts.Totals(keys, size, revision, sequence=max(revision, 1)))[1]
    return changes + _moved(_TOTALS, facts.TOTALS, totals)


def _moved(old: bytes, new: bytes, value: bytes | None) -> list[tuple[bytes, bytes | None]]:
    return [] if value is None else [(old, None), (new, value)]


def with_changes(stored: Stored, changes: Changes) -> Stored:
    """The facts as they will be when the changes are written."""
    changed = dict(changes)
    return lambda name: changed[name] if name in changed else stored(name)
