"""Damage that RocksDB doesn't notice by itself: logs that changed places, are missing or end too early, wrong counts."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.running_store import ROOT
from serve_app import records
from serve_app.errors import StorageDamaged, StorageUnusable
from serve_app.storage import wal
from serve_app.storage.facts import Totals, topology_fact, totals_fact
from serve_app.storage.folder import OpenedStorage, open_folder
from serve_app.storage.synced_mark import NAME as SYNCED
from serve_app.storage.wal_order import check_logs
from serve_app.topology import first_topology

SIZES = {"cache_bytes": 1 << 20, "write_buffer_bytes": 1 << 20}


def open_bucket(folder: Path) -> OpenedStorage:
    return open_folder(folder, 0, **SIZES)


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A folder as a kill -9 leaves it, with several logs that are all still needed: 3 MB in batches of 10 KB."""
    alive = tmp_path / "alive"
    storage = open_bucket(alive)
    for number in range(300):
        storage.engine.write([(b"k%03d" % number, os.urandom(10_000))], [(b"other", b"%d" % number)])
    shutil.copytree(alive, tmp_path / "crashed")
    storage.close()
    return tmp_path / "crashed"


def full_logs(folder: Path, at_least: int = 3) -> list[Path]:
    logs = [path for path in wal.log_files(folder / "db") if path.stat().st_size]
    assert len(logs) >= at_least, "nothing to swap or to leave out"
    return logs


def count(folder: Path) -> int:
    storage = open_bucket(folder)
    try:
        return sum(1 for _ in storage.engine.scan())
    finally:
        storage.close()


def refused(folder: Path, named: str) -> None:
    """Refused by name, and again at the next try."""
    for _ in range(2):
        with pytest.raises(StorageDamaged, match=named):
            open_bucket(folder)


def test_whole_logs_are_whole(crashed: Path) -> None:
    full_logs(crashed)
    assert count(crashed) == 300


@pytest.mark.parametrize("pair", [(0, 1), (0, -1), (-2, -1)])
def test_logs_that_changed_places_are_refused(crashed: Path, pair: tuple[int, int]) -> None:
    logs = full_logs(crashed)
    one, two = logs[pair[0]], logs[pair[1]]
    one.rename(aside := crashed / "aside")
    two.rename(one)
    aside.rename(two)
    refused(crashed, r"\d+\.log (holds older changes|starts with change)")


@pytest.mark.parametrize("which", [1, -1])
def test_a_log_that_is_missing_among_others_is_refused(crashed: Path, which: int) -> None:
    full_logs(crashed)[which].unlink()
    refused(crashed, r"\d+\.log")


@pytest.mark.parametrize("lost_bytes", [10_100, 100_000])
@pytest.mark.parametrize("how", ["zeroed", "cut off", "overwritten"])
def test_an_end_that_was_acknowledged_is_missed(crashed: Path, how: str, lost_bytes: int) -> None:
    """However much of the log's end is gone, and in whatever way, even by whole batches."""
    log = full_logs(crashed)[-1]
    keep = max(0, log.stat().st_size - lost_bytes)
    os.truncate(log, keep)
    if how != "cut off":
        with log.open("ab") as file:
            file.write(bytes(lost_bytes) if how == "zeroed" else b"\x55" * lost_bytes)
    refused(crashed, r"was acknowledged: the end of its log has been lost")
    (crashed / SYNCED).unlink()  # what the message tells
    assert 300 - lost_bytes // 10_000 - 2 <= count(crashed) < 300


def test_a_log_that_is_no_longer_needed_does_no_harm_where_it_belongs_and_is_noticed_elsewhere(tmp_path: Path) -> None:
    """RocksDB deletes them behind the scenes, so a kill can leave some. Also where nothing says how far writes went."""
    alive, left = tmp_path / "alive", tmp_path / "left"
    storage = open_bucket(alive)
    storage.engine.write([(b"old", b"v")], [])
    (old,) = full_logs(alive, at_least=1)
    shutil.copy2(old, tmp_path / old.name)
    storage.engine.reclaim(1 << 60)  # flushes, after which the log is not needed
    storage.engine.write([(b"new", b"v")], [])
    shutil.copytree(alive, left)
    storage.close()
    shutil.copy2(tmp_path / old.name, left / "db" / old.name)
    check_logs(left / "db", 1 << 20)
    one, *_, two = full_logs(left, at_least=2)
    old_bytes, new_bytes = one.read_bytes(), two.read_bytes()
    one.write_bytes(new_bytes)
    two.write_bytes(old_bytes)
    (left / SYNCED).unlink()
    refused(left, r"holds older changes than")
    one.write_bytes(old_bytes)
    two.write_bytes(new_bytes)
    assert count(left) == 2


def test_the_last_batch_is_missed_even_if_it_was_one_change(tmp_path: Path) -> None:
    """As a move's intent is."""
    alive, shorter = tmp_path / "alive", tmp_path / "shorter"
    storage = open_bucket(alive)
    storage.engine.write([(b"key", b"value")], [])
    (log,) = full_logs(alive, at_least=1)
    size = log.stat().st_size
    storage.engine.write([], [(b"other", b"1")])
    shutil.copytree(alive, shorter)
    storage.close()
    os.truncate(shorter / "db" / log.name, size)
    refused(shorter, r"was acknowledged: the end of its log has been lost")


def test_more_than_one_batch_is_never_set_aside(crashed: Path) -> None:
    """Also where the power went, and nothing says how far writes were acknowledged."""
    log = full_logs(crashed)[-1]
    size = log.stat().st_size
    log.write_bytes(log.read_bytes()[: size - 200_000] + bytes(200_000))
    check_logs(crashed / "db", 220_000)
    with pytest.raises(StorageDamaged, match=rf"{log.name} can't be read from byte \d+ on"):
        check_logs(crashed / "db", 100_000)


def test_a_database_that_is_gone_is_missed(crashed: Path) -> None:
    shutil.rmtree(crashed / "db")
    refused(crashed, "missing")


def test_a_mark_that_cannot_be_read_says_nothing(crashed: Path) -> None:
    for content in (b"", b"\xff" * 44, b"short"):
        (crashed / SYNCED).write_bytes(content)
        assert count(crashed) == 300


_WRITE = """
import sys, os, random
from pathlib import Path
from serve_app.storage.folder import open_folder
r = random.Random(int(sys.argv[2]))
storage = open_folder(Path(sys.argv[1]), 0, cache_bytes=1 << 20, write_buffer_bytes=1 << 20)
print("open", flush=True)
for number in range(r.randint(0, 3000)):
    keys = [b"k%04d" % r.randint(0, 3000) for _ in range(r.randint(1, 4))]
    storage.engine.write([(k, os.urandom(r.choice([10, 3000])) if r.random() < 0.8 else None) for k in keys], [(b"o", b"x")])
    if r.random() < 0.005:
        storage.engine.reclaim(1 << 60)
storage.close()
"""


def test_there_is_no_false_alarm_however_it_is_killed(tmp_path: Path) -> None:
    """Kills while it opens, replays, flushes, compacts and writes."""
    rng = random.Random(7)
    for turn in range(12):
        command = [sys.executable, "-c", _WRITE, str(tmp_path / "b"), str(turn)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if turn % 3 or turn == 0:
            assert process.stdout.readline() == "open\n", "it opens what the one before left"
        try:
            process.wait(rng.uniform(0.05, 0.6))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)
    open_bucket(tmp_path / "b").close()


# -- counts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "totals",
    [
        Totals((1 << 64) - 1, 100, 5),
        Totals(1, (1 << 64) - 1, 5),
        Totals(0, 1, 5),
        Totals(100, 100, 5),
        Totals(1, 1000, 0),
        Totals(1_000, 1_000_000, 1_000),
    ],
)
def test_a_count_that_cannot_be_is_damage(tmp_path: Path, totals: Totals) -> None:
    storage = open_bucket(tmp_path / "b")
    storage.engine.write([(b"k%d" % n, b"v" * 100) for n in range(10)], [totals_fact(totals)])
    storage.close()
    refused(tmp_path / "b", r"count")


def test_the_smallest_records_that_there_are_can_be(tmp_path: Path) -> None:
    """Keys of a byte, without a value or a content type."""
    keys = [b"%d" % number for number in range(10)]
    raw = records.encode(records.Record(b"", "", 1, 0, 0))
    storage = open_bucket(tmp_path / "b")
    totals = totals_fact(Totals(len(keys), len(keys) * (1 + len(raw)), len(keys)))
    storage.engine.write([(key, raw) for key in keys], [totals])
    storage.close()
    assert count(tmp_path / "b") == len(keys)


# -- what is named ---------------------------------------------------------------------------------------------------


def test_a_flipped_byte_anywhere_in_a_tables_end_names_the_table(tmp_path: Path) -> None:
    """Its properties, index and footer, which RocksDB reads while it reads the MANIFEST, and blames that."""
    storage = open_bucket(tmp_path / "b")
    storage.engine.write([(b"k%03d" % n, os.urandom(300)) for n in range(100)], [])
    storage.close()
    table = max((tmp_path / "b" / "db").glob("*.sst"), key=lambda path: path.stat().st_size)
    whole = table.read_bytes()
    blamed = []
    for offset in range(len(whole) - 900, len(whole), 9):
        table.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x40]) + whole[offset + 1 :])
        copy = tmp_path / f"at-{offset}"
        shutil.copytree(tmp_path / "b", copy)
        try:
            count(copy)
        except StorageDamaged as damage:
            blamed.append(str(damage).removeprefix(str(copy)).split(" is damaged")[0])
    assert len(blamed) > 50
    assert set(blamed) == {f"/db/{table.name}"}


def test_a_finished_database_under_the_name_of_a_new_one_is_not_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    storage = open_bucket(folder)
    storage.engine.write([(b"key", b"value")], [])
    storage.close()
    (folder / "db").rename(folder / "db.new")
    (folder / SYNCED).unlink()
    refused(folder, r"db\.new holds a bucket that has served.*rename it")
    (folder / "db.new").rename(folder / "db")
    assert count(folder) == 1


def test_a_new_database_of_a_store_without_records_is_not_made_anew_either(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    storage = open_bucket(folder)
    storage.engine.write([], [topology_fact(first_topology((storage.own.identity,)))])
    storage.close()
    (folder / "db").rename(folder / "db.new")
    (folder / SYNCED).unlink()
    refused(folder, r"db\.new")


def test_a_damaged_one_with_something_in_it_is_not_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    storage = open_bucket(folder)
    storage.engine.write([(b"key%d" % n, os.urandom(1000)) for n in range(100)], [])
    storage.close()
    (folder / "db").rename(folder / "db.new")
    (folder / SYNCED).unlink()
    (folder / "db.new" / "CURRENT").unlink()
    refused(folder, r"db\.new holds [\d,]+ bytes and can't be opened")


def test_a_start_that_was_interrupted_before_the_rename_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    open_bucket(folder).close()
    (folder / "db").rename(folder / "db.new")
    (folder / SYNCED).unlink()
    storage = open_bucket(folder)
    assert storage.created
    storage.close()


def test_a_lock_that_is_a_folder_is_damage(tmp_path: Path) -> None:
    open_bucket(tmp_path / "b").close()
    lock = tmp_path / "b" / "db" / "LOCK"
    lock.unlink()
    lock.mkdir()
    refused(tmp_path / "b", r"LOCK is damaged: it is a folder")


def test_a_copy_of_a_log_beside_it_is_no_log(crashed: Path) -> None:
    log = full_logs(crashed)[0]
    shutil.copy(log, log.with_name(f"{log.stem} copy.log"))
    assert count(crashed) == 300


def test_a_mark_that_cannot_be_opened_is_named(crashed: Path) -> None:
    mark = crashed / SYNCED
    mark.unlink()
    mark.mkdir()
    with pytest.raises(StorageUnusable, match=f"{mark}: Is a directory"):
        open_bucket(crashed)
    mark.rmdir()
    assert count(crashed) == 300
