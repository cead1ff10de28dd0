"""The engine on RocksDB, through rocksdict in raw mode.

Records are the default column family, the bucket's facts a second one of the same database, so one batch changes both.
RocksDB's write path logs and syncs a batch before it inserts it into the memtable, which is why a read can't see a write
that is not yet on disk (its wiki, "Write Ahead Log", and db_impl_write.cc: WriteToWAL precedes InsertInto).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from serve_app import events
from serve_app.errors import StorageDamaged, StorageFault, StorageInUse, StorageUnusable
from serve_app.storage import space
from serve_app.storage.engine import NOT_IN_MEMORY, Changes, EngineFailed, NotInMemory

FACTS = "facts"
_MIB = 1024 * 1024
#: Each is opened for it where it is not yet.
_TABLES_TO_ASK = 200


class RocksEngine:
    """An open database in `folder`. Holds RocksDB's lock on it until `close`."""

    def __init__(self, folder: Path, *, create: bool, cache_bytes: int, write_buffer_bytes: int) -> None:
        """Open the database, or make it with `create`.

        Raises:
            StorageDamaged, StorageInUse, StorageUnusable: named after what RocksDB reported.
        """
        self._folder = folder
        cache = Cache(cache_bytes)
        records = _options(cache, write_buffer_bytes, create=create)
        facts = _options(cache, 4 * _MIB, create=create)
        # All column families share one log; it is only cut when each has been flushed, and the facts are tiny.
        records.set_max_total_wal_size(4 * write_buffer_bytes)
        try:
            self._db = Rdict(str(folder), records, column_families={"default": records, FACTS: facts})
            self._facts = self._db.get_column_family(FACTS)
            self._facts_handle = self._db.get_column_family_handle(FACTS)
        except Exception as error:
            raise _fault(error, folder) from error
        self._closed = False
        self._synced = WriteOptions()
        self._synced.sync = True
        #: Gets the sequence number of the last change of each batch that is on disk.
        self.synced: Callable[[int], None] = lambda sequence: None

    def get(self, key: bytes) -> bytes | None:
        try:
            found: bytes | None = self._db.get(key)
        except Exception as error:
            raise _fault(error, self._folder) from error
        return found

    def get_in_memory(self, key: bytes) -> bytes | NotInMemory | None:
        # KeyMayExist looks in the memtables and the block cache only (kBlockCacheTier).
        may_exist, value = self._db.key_may_exist(key, fetch=True)  # type: ignore[misc]
        if not may_exist:
            return None
        # Where a table's index is not in the cache, it says "found" with an empty value (BlockBasedTable::Get returns
        # Incomplete there without marking the value as not found; seen after reopening). So empty means not known.
        return value or NOT_IN_MEMORY

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        try:
            found: list[bytes | None] = self._db.get(list(keys))  # type: ignore[assignment]
        except Exception as error:
            raise _fault(error, self._folder) from error
        return found

    def get_fact(self, name: bytes) -> bytes | None:
        try:
            found: bytes | None = self._facts.get(name)
        except Exception as error:
            raise _fault(error, self._folder) from error
        return found

    def scan_facts(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._scan(self._facts, start, end)

    def write(self, records: Changes, facts: Changes) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in records:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        for name, value in facts:
            if value is None:
                batch.delete(name, self._facts_handle)
            else:
                batch.put(name, value, self._facts_handle)
        try:
            self._db.write(batch, self._synced)
        except Exception as error:
            if "Corruption" in str(error):
                raise _fault(error, self._folder) from error
            raise EngineFailed(f"{self._folder}: {error}") from error
        self.synced(self._db.latest_sequence_number())

    def last_sequence(self) -> int:
        """RocksDB's number of the last change."""
        return self._db.latest_sequence_number()

    def most_records(self) -> int | None:
        """How many records there can be at most: what is in tables and memory, overwritten ones included.

        None where there are so many tables that to ask them would take long.
        """
        if len(self._db.live_files()) > _TABLES_TO_ASK:
            return None
        # Memory first: what is flushed meanwhile then counts twice, and not never.
        names = ("rocksdb.num-entries-active-mem-table", "rocksdb.num-entries-imm-mem-tables")
        in_memory = sum(self._db.property_int_value(name) or 0 for name in names)
        told = dict(
            part.strip().split("=", 1)
            for part in (self._db.property_value("rocksdb.aggregated-table-properties") or "").split(";")
            if "=" in part
        )
        try:
            return in_memory + int(told["# entries"]) - int(told["# deletions"])
        except (KeyError, ValueError):
            return None

    def scan(self, start: bytes = b"", end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        return self._scan(self._db, start, end)

    def _scan(self, family: Rdict, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        options = ReadOptions()
        if end is not None:
            options.set_iterate_upper_bound(end)
        # A long scan must not push out what clients read again and again.
        options.fill_cache(False)  # type: ignore[call-arg]
        cursor = family.iter(options)
        cursor.seek(start)
        return self._walk(cursor, options, end)

    def _walk(self, cursor, *held: object) -> Iterator[tuple[bytes, bytes]]:  # type: ignore[no-untyped-def]
        """held: the options with the bound. The iterator has a pointer to it and no copy: without them it would end wherever
        whatever comes into that memory says."""
        while cursor.valid():
            yield cursor.key(), cursor.value()
            cursor.next()
        try:
            cursor.status()  # an iterator that met damage just ends: only its status tells
        except Exception as error:
            raise _fault(error, self._folder) from error

    def free_bytes(self) -> int:
        try:
            disk = os.statvfs(self._folder)
        except OSError:
            return 0  # a folder that can't even be asked takes no more
        return disk.f_bavail * disk.f_frsize

    def reclaim(self, enough_bytes: int) -> None:
        try:
            space.give_back(self._db, self._facts, self.free_bytes, enough_bytes)
        except Exception as error:
            raise _fault(error, self._folder) from error

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # Each of these holds the database open, and with it the lock.
        del self._facts_handle
        for part in (self._facts, self._db):
            try:
                part.close()
            except Exception as error:  # it flushes on closing, which damage prevents; the log has it all
                events.warning("database not closed cleanly", folder=str(self._folder), error=str(error))
        del self._facts, self._db


def _options(cache: Cache, write_buffer_bytes: int, *, create: bool) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(create)
    options.create_missing_column_families(create)
    options.set_paranoid_checks(True)
    # The default stops at the first bad log record without a word; this one refuses anything but a cut tail.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_write_buffer_size(write_buffer_bytes)
    options.set_max_write_buffer_number(3)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_level_compaction_dynamic_level_bytes(True)
    # Small tables and levels, so that one compaction takes little space for what it writes beside what it replaces.
    options.set_target_file_size_base(max(write_buffer_bytes // 4, _MIB))
    options.set_max_compaction_bytes(2 * write_buffer_bytes)
    options.set_level_zero_file_num_compaction_trigger(2)
    options.set_max_bytes_for_level_base(2 * write_buffer_bytes)
    options.set_max_background_jobs(2)
    options.set_max_open_files(512)
    options.set_bytes_per_sync(_MIB)
    # RocksDB's own text log, for experts; bounded.
    options.set_max_log_file_size(4 * _MIB)
    options.set_keep_log_file_num(3)
    options.set_stats_dump_period_sec(0)
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_bloom_filter(10, False)
    # Index and filters count against the cache, so memory is bounded by it and not by the number of keys.
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_format_version(5)
    options.set_block_based_table_factory(table)
    return options


_FILE = re.compile(r"(?:[^\s'\":]*/)?(?:\d{6,}\.(?:sst|log|blob)|MANIFEST-\d+|CURRENT|OPTIONS-\d+)")


def _fault(error: Exception, folder: Path) -> StorageFault:
    """What RocksDB's message means. It has no error codes in Python, so its fixed status words are what there is."""
    text = str(error).strip()
    if "LOCK" in text and "Is a directory" in text:
        return StorageDamaged(f"{folder / 'LOCK'} is damaged: it is a folder where a file should be ({text})")
    if "lock" in text.lower() and ("IO error" in text or "lock file" in text.lower()) and "denied" not in text:
        return StorageInUse(f"{folder} is in use by another process ({text})")
    if "Corruption" in text or "does not exist" in text or "No such file" in text:
        named = _FILE.search(text)
        where = f"{folder / Path(named.group()).name}" if named else f"a file in {folder}"
        return StorageDamaged(f"{where} is damaged or missing: {text}")
    return StorageUnusable(f"{folder}: {text}")
