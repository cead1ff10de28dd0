"""Taking over a storage of an earlier format.

| format 1 | format 2 | format 3 |
| --- | --- | --- |
| `identity`, `bucket` | `storage.identity`, `storage.bucket` | |
| `topology`, `cursor`, `markers` | `bucket.topology`, `bucket.cursor`, `bucket.markers` | |
| `totals`: keys, bytes, last revision | `bucket.totals`: and the number of the last commit | and the number of outcomes |
| | | `bucket.feed`, and what is beside it |

All of it is one batch, so a storage is of the one format or of the other. The records stay as they are: none of an earlier
format expires. The feed begins after the last revision, since nothing of what was before is written down.

Of format 1: the numbers of commits go on from the last revision. Nobody has been given a number of this bucket yet, so
starting there takes none back; and they can't fall later either: revisions never do, and the batch makes both durable. Where
a take-over is interrupted and the earlier release goes on writing, the next one starts no lower. It does not start at 0,
because that means a bucket without any commit: whoever has seen all commits since 0 may believe to have seen all records, and
all facts.
"""

from __future__ import annotations

import struct

from serve_app.storage import facts
from serve_app.storage.engine import Changes
from serve_app.storage.extent import Extent, extent_fact
from serve_app.storage.facts import Stored

TOPOLOGY_1 = b"topology"
_TOTALS_1 = b"totals"
_RENAMED = {
    b"identity": facts.IDENTITY,
    b"bucket": facts.OWNER,
    TOPOLOGY_1: facts.TOPOLOGY,
    b"cursor": facts.CURSOR,
    b"markers": facts.MARKERS,
}
_OLD_TOTALS = {b"1": struct.Struct(">QQQ"), b"2": struct.Struct(">QQQQ")}


def take_over(stored: Stored) -> Changes:
    """The changes of facts that make a storage of an earlier format one of this; empty where it is of another.

    Nothing is judged here: what is missing or malformed stays so under its new name, where reading the facts finds it.
    """
    old_format = stored(facts.FORMAT_NAME)
    layout = _OLD_TOTALS.get(old_format or b"")
    if layout is None:
        return []
    changes: list[tuple[bytes, bytes | None]] = [(facts.FORMAT_NAME, b"%d" % facts.FORMAT)]
    totals_name = facts.TOTALS
    if old_format == b"1":
        totals_name = _TOTALS_1
        for old, new in _RENAMED.items():
            changes += _moved(old, new, stored(old))
    totals = stored(totals_name)
    if totals is not None and len(totals) == layout.size:
        keys, size, revision, *sequence = layout.unpack(totals)
        counted = facts.Totals(keys, size, revision, *(sequence or [max(1, revision)]))
        totals = facts.totals_fact(counted)[1]
        changes.append(extent_fact(Extent(revision)))
    return changes + _moved(totals_name, facts.TOTALS, totals)


def _moved(old: bytes, new: bytes, value: bytes | None) -> list[tuple[bytes, bytes | None]]:
    if value is None:
        return []
    return [(new, value)] if old == new else [(old, None), (new, value)]


def with_changes(stored: Stored, changes: Changes) -> Stored:
    """The facts as they will be when the changes are written."""
    changed = dict(changes)
    return lambda name: changed[name] if name in changed else stored(name)
