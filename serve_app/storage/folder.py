"""A bucket's folder: making it, opening it, and refusing what is not ours or not whole.

    bucket-3/db/         the database
    bucket-3/db.new/     a database being made; only ever renamed to db when it is complete
    bucket-3/set-aside/  torn log tails that were cut off, kept for whoever wants to look
    bucket-3/synced      how far writes have been acknowledged (synced_mark.py)

A folder that is empty becomes a new bucket. Anything else must be a whole bucket: RocksDB left to itself would happily
make a new database where the old one's CURRENT file is gone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serve_app.errors import StorageDamaged, StorageForeign, StorageInUse, StorageUnusable
from serve_app.record_bounds import MAX_VALUE_BYTES
from serve_app.settings import MIB
from serve_app.storage import earlier_formats, facts, private, tables, wal
from serve_app.storage.engine import Changes, EngineFailed
from serve_app.storage.facts import BucketFacts, StorageFacts, first_facts, read_bucket_facts, read_storage_facts
from serve_app.storage.rocks import RocksEngine
from serve_app.storage.synced_mark import NAME as SYNCED
from serve_app.storage.synced_mark import SyncedMark
from serve_app.storage.wal_order import check_logs

# What a file system puts at the top of a fresh volume.
_NOT_OURS_BUT_HARMLESS = frozenset({"lost+found"})
#: What a batch has beyond the values in it, at most: keys, headers, facts.
_BATCH_OVERHEAD_BYTES = 2 * MIB
#: The logs and tables of a database that was being made; one that can't be opened and has more held something.
_JUST_MADE_BYTES = 64 * 1024


@dataclass(frozen=True)
class OpenedStorage:
    """An open bucket folder.

    own, facts: those of this storage, and those of its bucket, as of the opening. created: it was empty.
    tail_set_aside: where a torn log tail was kept, if there was one.
    """

    engine: RocksEngine
    own: StorageFacts
    facts: BucketFacts
    created: bool
    tail_set_aside: Path | None
    lock: int
    mark: SyncedMark

    def close(self) -> None:
        """Close the database and let go of the folder."""
        self.engine.close()
        self.mark.close()
        os.close(self.lock)


def open_folder(
    folder: Path, bucket_id: int, *, cache_bytes: int, write_buffer_bytes: int, max_group_bytes: int = 32 * MIB
) -> OpenedStorage:
    """Open the bucket in `folder`: made first where that is missing or empty, taken over where it is of an earlier format.

    max_group_bytes: the largest group that was ever configured; a log's torn end can't be larger than one.

    Raises:
        StorageDamaged: a file is missing or fails its checksum.
        StorageForeign: the folder holds something else, or another bucket.
        StorageNewer: a newer release's format.
        StorageInUse: another process has it open.
        StorageUnusable: the operating system refused (permission, space, device).
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StorageUnusable(f"{folder}: {error.strerror}") from error
    try:
        # Also while the database is being made, when there is no RocksDB lock yet.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sizes = {"cache_bytes": cache_bytes, "write_buffer_bytes": write_buffer_bytes}
        created = _is_new(folder)
        private.close(folder)
        if created:
            _make(folder, bucket_id, sizes)
        engine, tail = _open_database(folder, sizes, max(max_group_bytes, MAX_VALUE_BYTES) + _BATCH_OVERHEAD_BYTES)
    except BlockingIOError:
        os.close(lock)
        raise StorageInUse(f"{folder} is in use by another process") from None
    except OSError as error:
        os.close(lock)
        raise StorageUnusable(f"{folder}: {error.strerror or error}") from error
    except BaseException:
        os.close(lock)
        raise
    try:
        # What an earlier release has left is checked in full before a byte of it is changed.
        taken_over = earlier_formats.take_over(engine.get_fact)
        stored = earlier_formats.with_changes(engine.get_fact, taken_over)
        own = read_storage_facts(stored, bucket_id, str(folder))
        bucket_facts = read_bucket_facts(stored, str(folder))
        _check_count(folder, engine, bucket_facts)
        mark = _checked_mark(folder, engine, own, tail)
        if taken_over:
            _write_taken_over(engine, taken_over, mark)
    except OSError as error:
        engine.close()
        os.close(lock)
        raise StorageUnusable(f"{error.filename or folder}: {error.strerror or error}") from error
    except BaseException:
        engine.close()
        os.close(lock)
        raise
    return OpenedStorage(engine, own, bucket_facts, created, tail, lock, mark)


def sibling_ids(data_dir: Path, bucket_id: int) -> tuple[int, ...]:
    """Other buckets that have a database beside this one's, in order. On Kubernetes each sees its own volume alone."""
    found = []
    for path in data_dir.glob("bucket-*/db"):
        number = path.parent.name.removeprefix("bucket-")
        if number.isdigit() and int(number) != bucket_id:
            found.append(int(number))
    return tuple(sorted(found))


def _is_new(folder: Path) -> bool:
    entries = set(os.listdir(folder)) - _NOT_OURS_BUT_HARMLESS
    if "db" in entries:
        return False
    if entries & {"set-aside", SYNCED}:
        raise StorageDamaged(f"{folder / 'db'} is missing from a folder that held a bucket")
    strangers = sorted(entries - {"db.new"})
    if strangers:
        raise StorageForeign(f"{folder} is not a bucket's folder: it holds {strangers[0]!r} and no database")
    return True


def _make(folder: Path, bucket_id: int, sizes: dict[str, int]) -> None:
    new = folder / "db.new"
    if new.exists():
        _check_never_served(new, bucket_id, sizes)
        shutil.rmtree(new)
    engine = RocksEngine(new, create=True, **sizes)
    try:
        engine.write([], first_facts(bucket_id))
    except EngineFailed as error:
        raise StorageUnusable(str(error)) from error
    finally:
        engine.close()
    new.rename(folder / "db")
    wal.sync_folder(folder)
    wal.sync_folder(folder.parent)
    for ancestor in folder.parent.parents:  # those that were made with it, by this start or one that was interrupted
        with suppress(OSError):  # others may not be ours to open
            wal.sync_folder(ancestor)


def _check_never_served(new: Path, bucket_id: int, sizes: dict[str, int]) -> None:
    """A start that is interrupted leaves a database without records, which is made again. One with records was renamed."""
    try:
        engine = RocksEngine(new, create=False, **sizes)
    except StorageDamaged as error:
        held = sum(path.stat().st_size for pattern in ("*.sst", "*.log") for path in new.glob(pattern))
        if held > _JUST_MADE_BYTES:
            raise StorageDamaged(
                f"{new} holds {held:,} bytes and can't be opened, so it is not made anew: {error}"
            ) from error
        return
    try:
        founded = any(engine.get_fact(name) is not None for name in (facts.TOPOLOGY, earlier_formats.TOPOLOGY_1))
        if founded or next(engine.scan(), None) is not None:
            raise StorageDamaged(
                f"{new} holds a bucket that has served, under the name of one being made: rename it to 'db'"
            )
    finally:
        engine.close()


def _open_database(folder: Path, sizes: dict[str, int], max_batch_bytes: int) -> tuple[RocksEngine, Path | None]:
    database = folder / "db"
    if not wal.log_files(database):
        # RocksDB always keeps one, and opens without it as if nothing had been written since the last flush.
        raise StorageDamaged(f"{database} has no write-ahead log (*.log): the last writes are missing")
    check_logs(database, max_batch_bytes)
    try:
        return RocksEngine(database, create=False, **sizes), None
    except StorageDamaged as error:
        damage = wal.find_damage(database)
        if damage is None:
            if "MANIFEST" in str(error).split(":", 1)[0] and tables.manifest_is_whole(database):
                for table in tables.unreadable_tables(database):
                    raise StorageDamaged(f"{table} is damaged: {error}") from error
            raise
    damage.refuse_unless_tail()
    tail = wal.set_tail_aside(damage, folder / "set-aside")
    return RocksEngine(database, create=False, **sizes), tail


def _check_count(folder: Path, engine: RocksEngine, counted: BucketFacts) -> None:
    """No more keys are counted than there are records in the tables and the memory, dead ones included."""
    most = engine.most_records()
    if most is not None and counted.totals.keys > most:
        raise StorageDamaged(
            f"{folder / 'db'} counts {counted.totals.keys:,} keys, but its files hold {most:,} records at most: "
            f"some are missing, or of another time"
        )


def _checked_mark(folder: Path, engine: RocksEngine, own: StorageFacts, tail: Path | None) -> SyncedMark:
    mark = SyncedMark(folder, own.identity)
    last = engine.last_sequence()
    if mark.sequence is not None and mark.sequence > last:
        mark.close()
        where = tail or max(wal.log_files(folder / "db"), key=lambda path: int(path.stem))
        raise StorageDamaged(
            f"{folder / 'db'} ends at change number {last:,}, but {mark.sequence:,} was acknowledged: the end of its log has "
            f"been lost (see {where}). To serve without it, delete {folder / SYNCED}"
        )
    engine.synced = mark.note
    return mark


def _write_taken_over(engine: RocksEngine, changes: Changes, mark: SyncedMark) -> None:
    try:
        engine.write([], changes)
    except EngineFailed as error:
        mark.close()
        raise StorageUnusable(str(error)) from error
    except BaseException:
        mark.close()
        raise
