"""A bucket's folder: making it, opening it, and refusing what is not ours or not whole.

    bucket-3/db/         the database
    bucket-3/db.new/     a database being made; only ever renamed to db when it is complete
    bucket-3/set-aside/  torn log tails that were cut off, kept for whoever wants to look

A folder that is empty becomes a new bucket. Anything else must be a whole bucket: RocksDB left to itself would happily
make a new database where the old one's CURRENT file is gone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from serve_app.errors import StorageDamaged, StorageForeign, StorageInUse, StorageUnusable
from serve_app.storage import private, wal
from serve_app.storage.engine import EngineFailed
from serve_app.storage.facts import Facts, first_facts, read_facts
from serve_app.storage.rocks import RocksEngine

# What a file system puts at the top of a fresh volume.
_NOT_OURS_BUT_HARMLESS = frozenset({"lost+found"})


@dataclass(frozen=True)
class OpenedStorage:
    """An open bucket folder. created: it was empty. tail_set_aside: where a torn log tail was kept, if there was one."""

    engine: RocksEngine
    facts: Facts
    created: bool
    tail_set_aside: Path | None
    lock: int

    def close(self) -> None:
        """Close the database and let go of the folder."""
        self.engine.close()
        os.close(self.lock)


def open_folder(folder: Path, bucket_id: int, *, cache_bytes: int, write_buffer_bytes: int) -> OpenedStorage:
    """Open the bucket in `folder`, made first where the folder is missing or empty.

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
        engine, tail = _open_database(folder, sizes)
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
        facts = read_facts(engine, bucket_id, str(folder))
    except BaseException:
        engine.close()
        os.close(lock)
        raise
    return OpenedStorage(engine, facts, created, tail, lock)


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
    if "set-aside" in entries:
        raise StorageDamaged(f"{folder / 'db'} is missing from a folder that held a bucket")
    strangers = sorted(entries - {"db.new"})
    if strangers:
        raise StorageForeign(f"{folder} is not a bucket's folder: it holds {strangers[0]!r} and no database")
    return True


def _make(folder: Path, bucket_id: int, sizes: dict[str, int]) -> None:
    new = folder / "db.new"
    if new.exists():  # a start that was interrupted here: it was never served
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


def _open_database(folder: Path, sizes: dict[str, int]) -> tuple[RocksEngine, Path | None]:
    database = folder / "db"
    if not wal.log_files(database):
        # RocksDB always keeps one, and opens without it as if nothing had been written since the last flush.
        raise StorageDamaged(f"{database} has no write-ahead log (*.log): the last writes are missing")
    try:
        return RocksEngine(database, create=False, **sizes), None
    except StorageDamaged:
        damage = wal.find_damage(database)
        if damage is None:
            raise
    if damage.intact_offset is not None:
        raise StorageDamaged(
            f"{damage.path} is damaged at byte {damage.offset}, and intact records follow at byte "
            f"{damage.intact_offset}: acknowledged data has been hit"
        )
    tail = wal.set_tail_aside(damage, folder / "set-aside")
    return RocksEngine(database, create=False, **sizes), tail
