"""A bucket's folder: made, opened, and refused where it is not ours or not whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serve_app.errors import (
    StorageDamaged,
    StorageForeign,
    StorageInUse,
    StorageNewer,
    StorageUnusable,
)
from serve_app.settings import MIB
from serve_app.storage import wal
from serve_app.storage.facts import IDENTITY, OWNER, TOTALS, Totals
from serve_app.storage.folder import OpenedStorage, open_folder, sibling_ids
from serve_app.storage.synced_mark import NAME as SYNCED

SIZES = {"cache_bytes": 1 << 20, "write_buffer_bytes": 1 << 20}


def open_bucket(folder: Path, bucket_id: int = 0) -> OpenedStorage:
    return open_folder(folder, bucket_id, **SIZES)


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A folder as a kill -9 leaves it: 200 records of 1 KB, the later half in the log alone."""
    alive = tmp_path / "alive"
    storage = open_bucket(alive)
    for number in range(100):
        storage.engine.write([(b"flushed%03d" % number, b"v" * 1000)], [])
    storage.close()  # flushes
    storage = open_bucket(alive)
    for number in range(100):
        storage.engine.write([(b"logged%03d" % number, b"v" * 1000)], [])
    shutil.copytree(alive, tmp_path / "crashed")
    storage.close()
    return tmp_path / "crashed"


def the_log(folder: Path) -> Path:
    return max(wal.log_files(folder / "db"), key=lambda path: path.stat().st_size)


def flip_byte(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.write_bytes(data)


def unacknowledged(folder: Path) -> None:
    """As if nobody had been answered for the last batches: where the power goes before that, this file says less."""
    (folder / SYNCED).unlink()


def keys_in(folder: Path) -> list[bytes]:
    storage = open_bucket(folder)
    try:
        return [key for key, _ in storage.engine.scan()]
    finally:
        storage.close()


def test_an_empty_folder_becomes_a_bucket(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "bucket-0"
    (folder / "lost+found").mkdir(parents=True)  # as on a fresh volume
    first = open_bucket(folder)
    assert first.created
    assert first.facts.totals == Totals(0, 0, 0)
    assert first.facts.topology is None
    first.close()
    again = open_bucket(folder)
    assert not again.created
    assert again.own.identity == first.own.identity
    again.close()


def test_two_new_buckets_differ_in_identity(tmp_path: Path) -> None:
    one, two = open_bucket(tmp_path / "1"), open_bucket(tmp_path / "2")
    assert one.own.identity != two.own.identity
    one.close()
    two.close()


def test_an_interrupted_creation_starts_over(tmp_path: Path) -> None:
    (tmp_path / "b" / "db.new").mkdir(parents=True)
    (tmp_path / "b" / "db.new" / "MANIFEST-000001").write_bytes(b"half")
    storage = open_bucket(tmp_path / "b")
    assert storage.created
    storage.close()
    assert not (tmp_path / "b" / "db.new").exists()


def test_a_crash_loses_nothing(crashed: Path) -> None:
    assert len(keys_in(crashed)) == 200


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    storage = open_bucket(tmp_path / "b")
    with pytest.raises(StorageInUse, match="in use"):
        open_bucket(tmp_path / "b")
    storage.close()
    open_bucket(tmp_path / "b").close()


def test_another_buckets_folder_is_refused_by_name(tmp_path: Path) -> None:
    open_bucket(tmp_path / "b", 3).close()
    with pytest.raises(StorageForeign, match="belongs to bucket-3, not bucket-0"):
        open_bucket(tmp_path / "b", 0)
    open_bucket(tmp_path / "b", 3).close()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "holiday.jpg").touch()
    with pytest.raises(StorageForeign, match=r"holiday\.jpg"):
        open_bucket(tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["holiday.jpg"]


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    storage = open_bucket(tmp_path / "b")
    storage.engine.write([], [(b"format", b"4")])
    storage.close()
    with pytest.raises(StorageNewer, match="format 4"):
        open_bucket(tmp_path / "b")


def test_a_database_that_is_no_buckets_is_refused(tmp_path: Path) -> None:
    storage = open_bucket(tmp_path / "b")
    storage.engine.write([], [(b"format", None)])
    storage.close()
    with pytest.raises(StorageForeign, match="not a bucket's"):
        open_bucket(tmp_path / "b")


@pytest.mark.parametrize("fact", [OWNER, IDENTITY, TOTALS])
def test_a_missing_fact_is_damage(tmp_path: Path, fact: bytes) -> None:
    storage = open_bucket(tmp_path / "b")
    storage.engine.write([], [(fact, None)])
    storage.close()
    with pytest.raises(StorageDamaged):
        open_bucket(tmp_path / "b")


def test_a_folder_that_cannot_be_made_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnusable, match="Not a directory"):
        open_bucket(tmp_path / "file" / "b")


# -- damage ----------------------------------------------------------------------------------------------------------


def _remove(path: Path) -> None:
    path.unlink()


def _flip_middle(path: Path) -> None:
    flip_byte(path, path.stat().st_size // 2)


def _cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("hurt", [_remove, _flip_middle, _cut_in_half])
@pytest.mark.parametrize("pattern", ["*.sst", "MANIFEST-*", "CURRENT"])
def test_a_damaged_file_is_never_a_shorter_store(crashed: Path, pattern: str, hurt: Callable[[Path], None]) -> None:
    """Every file that holds data or leads to it: the open names the trouble, or a read does; nothing is just missing."""
    victim = max((crashed / "db").glob(pattern), key=lambda path: path.stat().st_size)
    hurt(victim)
    with pytest.raises(StorageDamaged) as refused:
        keys_in(crashed)
    assert str(crashed / "db") in str(refused.value)


def test_a_missing_log_is_damage(crashed: Path) -> None:
    for log in wal.log_files(crashed / "db"):
        log.unlink()
    with pytest.raises(StorageDamaged, match="no write-ahead log"):
        open_bucket(crashed)


def test_a_missing_database_is_damage_where_there_was_one(crashed: Path) -> None:
    (crashed / "set-aside").mkdir()
    shutil.rmtree(crashed / "db")
    with pytest.raises(StorageDamaged, match="missing"):
        open_bucket(crashed)


@pytest.fixture
def offsets(crashed: Path) -> Iterator[int]:
    """Offsets all over the log but its last record."""
    size = the_log(crashed).stat().st_size
    return iter(range(3, size - 1200, size // 12))


def test_a_flipped_byte_amid_the_log_is_refused_and_named(
    crashed: Path, tmp_path: Path, offsets: Iterator[int]
) -> None:
    for offset in offsets:
        copy = tmp_path / f"copy-{offset}"
        shutil.copytree(crashed, copy)
        flip_byte(the_log(copy), offset)
        with pytest.raises(StorageDamaged, match=r"\.log is damaged at byte \d+, and intact records follow"):
            open_bucket(copy)


def test_a_tail_cut_off_opens_with_all_before_it(crashed: Path) -> None:
    log = the_log(crashed)
    unacknowledged(crashed)
    os.truncate(log, log.stat().st_size - 500)
    assert keys_in(crashed) == [b"flushed%03d" % n for n in range(100)] + [b"logged%03d" % n for n in range(99)]


def test_a_torn_last_batch_is_set_aside_and_reported(crashed: Path) -> None:
    log = the_log(crashed)
    unacknowledged(crashed)
    before = log.read_bytes()
    flip_byte(log, log.stat().st_size - 500)
    torn = log.read_bytes()
    storage = open_bucket(crashed)
    assert storage.tail_set_aside is not None
    kept = storage.tail_set_aside.read_bytes()
    assert torn.endswith(kept)
    assert len(kept) < 1300
    assert len(before) == len(torn)
    assert len(list(storage.engine.scan())) == 199
    storage.close()
    assert len(keys_in(crashed)) == 199


def test_a_large_torn_batch_is_set_aside_too(tmp_path: Path) -> None:
    """A batch over many of the log's blocks: its later fragments are intact, but it is not."""
    storage = open_bucket(tmp_path / "b")
    storage.engine.write([(b"before", b"kept")], [])
    storage.engine.write([(b"big%d" % n, b"x" * 30_000) for n in range(10)], [])
    shutil.copytree(tmp_path / "b", tmp_path / "torn")
    storage.close()
    log = the_log(tmp_path / "torn")
    unacknowledged(tmp_path / "torn")
    flip_byte(log, 40_000)
    opened = open_bucket(tmp_path / "torn")
    assert opened.tail_set_aside is not None
    assert [key for key, _ in opened.engine.scan()] == [b"before"]
    opened.close()


def test_a_torn_value_is_set_aside_also_where_groups_are_smaller(tmp_path: Path) -> None:
    """It goes alone then."""
    storage = open_bucket(tmp_path / "b")
    storage.engine.write([(b"before", b"kept")], [])
    log = the_log(tmp_path / "b")
    start = log.stat().st_size
    storage.engine.write([(b"large", os.urandom(3 * MIB))], [])
    shutil.copytree(tmp_path / "b", tmp_path / "torn")
    storage.close()
    unacknowledged(tmp_path / "torn")
    flip_byte(tmp_path / "torn" / "db" / log.name, start + 1000)
    opened = open_folder(tmp_path / "torn", 0, **SIZES, max_group_bytes=1000)
    assert opened.tail_set_aside is not None
    assert [key for key, _ in opened.engine.scan()] == [b"before"]
    opened.close()


def test_a_zeroed_tail_is_set_aside_or_ignored_but_never_costs_what_is_before(crashed: Path) -> None:
    """A file system may bring back the file's length but not its last pages."""
    log = the_log(crashed)
    unacknowledged(crashed)
    data = log.read_bytes()
    log.write_bytes(data[:-600] + bytes(600))
    assert len(keys_in(crashed)) == 199


def test_damage_in_an_older_log_with_a_whole_newer_one_is_refused(crashed: Path) -> None:
    log = the_log(crashed)
    newer = log.with_name(f"{int(log.stem) + 1:06d}.log")
    shutil.copy(log, newer)
    flip_byte(log, log.stat().st_size - 500)
    damage = wal.find_damage(crashed / "db")
    assert damage is not None
    assert damage.path == log
    assert damage.intact_offset is not None


def test_damage_that_only_a_compaction_meets_stops_writes_by_name_and_not_reads(tmp_path: Path) -> None:
    """RocksDB opens, compacts in the background, meets the damaged block and takes no more writes."""
    folder = tmp_path / "b"
    storage = open_bucket(folder)
    storage.engine.write([(b"k%06d" % number, os.urandom(900)) for number in range(900)], [])
    storage.close()  # one table, which is not compacted before there is another
    flip_byte(table := max((folder / "db").glob("*.sst"), key=lambda p: p.stat().st_size), table.stat().st_size // 3)
    storage = open_bucket(folder)

    def write_on() -> None:
        for _ in range(2000):
            storage.engine.write([(b"k%06d-n" % (90 * n), os.urandom(900)) for n in range(10)], [])

    with pytest.raises(StorageDamaged) as refused:
        write_on()
    assert str(folder / "db") in str(refused.value)
    found, damages = 0, set()
    for number in range(900):
        try:
            found += storage.engine.get(b"k%06d" % number) is not None
        except StorageDamaged as damage:
            damages.add(str(damage))
    assert found > 700, "what is not in the damaged block is read"
    assert damages
    assert all(".sst" in text for text in damages)
    storage.close()
    open_bucket(folder).close()


def test_siblings_are_the_other_buckets_with_a_database(tmp_path: Path) -> None:
    for bucket_id in (0, 2, 11):
        open_bucket(tmp_path / f"bucket-{bucket_id}", bucket_id).close()
    (tmp_path / "bucket-5").mkdir()
    (tmp_path / "bucket-x" / "db").mkdir(parents=True)
    assert sibling_ids(tmp_path, 0) == (2, 11)
