"""Giving back the disk space of deleted records while RocksDB runs.

A delete only adds to the disk: to the log, and later to a table. RocksDB lets go of a log when what it holds has been
flushed, which happens when a write buffer is full, and of a deleted record when a compaction meets both it and its deletion,
which happens when a level is full. On a full disk neither may ever come, so both are brought about here, in steps that each
need little space themselves: one table, with what lies below it, at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rocksdict import CompactOptions, Rdict

#: What a flush may need beyond the size of what it writes: a table's index and the manifest.
_FLUSH_MARGIN_BYTES = 1024 * 1024


def give_back(records: Rdict, facts: Rdict, free_bytes: Callable[[], int], enough_bytes: int) -> None:
    """Flush, then compact the tables with the most deletions first, until this much is free or none is left.

    Nothing is done where the disk has no room even for the flush: one that fails stops all writes.
    """
    buffered = sum(part.property_int_value("rocksdb.cur-size-all-mem-tables") or 0 for part in (facts, records))
    if free_bytes() < buffered + _FLUSH_MARGIN_BYTES:
        return
    # A log is let go when every column family has flushed what is in it; the facts change with every batch.
    facts.flush()
    records.flush()
    options = CompactOptions()
    options.set_exclusive_manual_compaction(False)
    tried: set[str] = set()
    while free_bytes() < enough_bytes:
        table = _most_deletions(records, tried)
        if table is None:
            return
        tried.add(table["name"])
        # A range of one key: RocksDB takes the whole table that holds it, and further down only what that key needs.
        records.compact_range(table["start_key"], table["start_key"], options)


def _most_deletions(records: Rdict, tried: set[str]) -> dict[str, Any] | None:
    """Of tables that were there before this process, RocksDB knows the deletions of some only: the others come last."""
    tables = records.live_files()
    bottom = max((table["level"] for table in tables), default=0)
    left = [
        table
        for table in tables
        if table["name"] not in tried
        and (table["num_deletions"] or (not table["num_entries"] and (table["level"] < bottom or not bottom)))
    ]
    return max(left, key=lambda table: table["num_deletions"], default=None)
