"""A storage of an earlier format is taken over whole, in one batch, once.

The folders in data/ were made by the last releases of format 1 (commit 50e8ce5) and of format 2 (commit 30494c6): bucket 0 of
a store in the middle of a move. One of each was closed; one was killed before anything was flushed: all of it is in the log.
"""

from __future__ import annotations

import shutil
import signal
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from serve_app import records
from serve_app.changes import DELETE, PUT, Change
from serve_app.cursor import Cursor, Marker
from serve_app.errors import StorageDamaged, StorageForeign, StorageNewer, StorageUnusable
from serve_app.records import Record
from serve_app.storage import earlier_formats, facts
from serve_app.storage.engine import Changes, EngineFailed
from serve_app.storage.extent import EXTENT, Extent
from serve_app.storage.facts import TOPOLOGY, TOTALS, Totals, totals_fact
from serve_app.storage.feed import read_changes
from serve_app.storage.folder import OpenedStorage, open_folder
from serve_app.storage.rocks import RocksEngine
from serve_app.storage.synced_mark import NAME as SYNCED
from serve_app.storage.synced_mark import SyncedMark
from serve_app.topology import Topology
from tests.support.commits import Commits

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[2]
SIZES = {"cache_bytes": 1 << 20, "write_buffer_bytes": 1 << 20}
MADE_MS = 1_750_000_000_000


class Left(NamedTuple):
    """A folder that was left. sequence: of its last commit, as this format counts."""

    format: int
    how: str
    identity: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.format}-{self.how}"


CLOSED_1, KILLED_1 = Left(1, "closed", f"{1:032x}", 50), Left(1, "killed", f"{2:032x}", 50)
CLOSED_2, KILLED_2 = Left(2, "closed", f"{3:032x}", 7), Left(2, "killed", f"{4:032x}", 7)
EVERY_ONE = pytest.mark.parametrize("left", [CLOSED_1, KILLED_1, CLOSED_2, KILLED_2], ids=str)
CLOSED = pytest.mark.parametrize("left", [CLOSED_1, CLOSED_2], ids=str)
KILLED = pytest.mark.parametrize("left", [KILLED_1, KILLED_2], ids=str)
OLD_NAMES = (b"identity", b"bucket", b"totals", b"topology", b"cursor", b"markers")
NAMES = (facts.IDENTITY, facts.OWNER, TOTALS, TOPOLOGY, facts.CURSOR, facts.MARKERS)
LAYOUTS = {1: struct.Struct(">QQQ"), 2: struct.Struct(">QQQQ")}


def name_in(left: Left, name: bytes) -> bytes:
    """What format 1 calls `name` has another name in format 2."""
    return name if left.format == 1 else dict(zip(OLD_NAMES, NAMES, strict=True))[name]


def unpacked(to: Path, left: Left) -> Path:
    with tarfile.open(DATA / f"format_{left.format}_{left.how}.tar.gz") as archive:
        archive.extractall(to, filter="data")
    return to / "bucket-0"


def open_bucket(at: Path, bucket_id: int = 0) -> OpenedStorage:
    return open_folder(at, bucket_id, **SIZES)


def raw_engine(at: Path) -> RocksEngine:
    return RocksEngine(at / "db", create=False, **SIZES)


def is_as_it_was(at: Path, left: Left) -> bool:
    """Whether all of it is of the earlier format, and nothing of this one."""
    engine = raw_engine(at)
    try:
        layout, feed, totals = (engine.get_fact(name) for name in (b"format", EXTENT, TOTALS))
        told = totals is not None and (left.format == 1 or len(totals) > LAYOUTS[2].size)
        return layout == b"%d" % left.format and feed is None and not told
    finally:
        engine.close()


def expected_records() -> dict[bytes, Record]:
    """Revisions 1 to 40 are puts, 41 to 45 overwrite, 46 to 50 are deletions."""
    made = {b"key%02d" % n: Record(b"value %d" % n, "text/plain", n + 1, MADE_MS, MADE_MS) for n in range(36)}
    made[b"empty"] = Record(b"", "application/octet-stream", 37, MADE_MS, MADE_MS)
    made[b"large"] = Record(b"0123456789abcdef" * 6400, "text/plain", 38, MADE_MS, MADE_MS)
    made[b"typed"] = Record(b'{"a":1}', "application/json", 39, MADE_MS, MADE_MS)
    made["ключ/ü".encode()] = Record("значение".encode(), "text/plain", 40, MADE_MS, MADE_MS)
    for n in range(5):
        made[b"key%02d" % n] = Record(b"again %d" % n, "text/plain", 41 + n, MADE_MS, MADE_MS)
    for n in range(10, 15):
        del made[b"key%02d" % n]
    return made


def check_everything(storage: OpenedStorage, left: Left) -> None:
    identity = left.identity
    assert {key: records.decode(raw) for key, raw in storage.engine.scan()} == expected_records()
    assert storage.own == facts.StorageFacts(0, identity)
    assert storage.facts == facts.BucketFacts(
        Totals(keys=35, bytes=104_402, revision=50, sequence=left.sequence, outcomes=0),
        Topology(5, 2, 3, "store", (identity, f"{0xB0B:032x}", f"{0xCAB:032x}"), move_epoch=4),
        Cursor(5, b"key20", b"key25", moved_keys=7, moved_bytes=700, keys_at_start=42, bytes_at_start=105_000),
        {1: Marker(5, b"key08")},
        Extent(since=50),
    )
    assert storage.engine.get_fact(b"format") == b"3"
    assert len(storage.engine.get_fact(TOTALS) or b"") == 5 * 8
    assert [storage.engine.get_fact(name) for name in OLD_NAMES] == [None] * len(OLD_NAMES)


@EVERY_ONE
def test_everything_is_there_and_it_goes_on(tmp_path: Path, left: Left) -> None:
    at = unpacked(tmp_path, left)
    storage = open_bucket(at)
    assert not storage.created
    check_everything(storage, left)
    written = Commits(storage.engine, storage.facts.totals)
    put, deleted = written.run(written.put(b"new", b"1"), written.delete(b"empty"))
    assert (put.revision, deleted.revision) == (51, 52)
    storage.close()
    again = open_bucket(at)
    assert again.facts.totals == written.committer.totals
    assert again.facts.totals.sequence == left.sequence + 1
    assert again.facts.feed == Extent(since=50), "what was before is not told, and all that was after is"
    assert list(read_changes(again.engine, 50)) == [[Change(PUT, b"new", 51), Change(DELETE, b"empty", 52)]]
    assert again.own.identity == left.identity
    assert {key for key, _ in again.engine.scan()} == expected_records().keys() - {b"empty"} | {b"new"}
    again.close()


@EVERY_ONE
def test_the_second_open_changes_nothing(tmp_path: Path, left: Left) -> None:
    at = unpacked(tmp_path, left)
    first = open_bucket(at)
    last = first.engine.last_sequence()
    first.close()
    second = open_bucket(at)
    assert second.engine.last_sequence() == last
    check_everything(second, left)
    second.close()


_KILLED = """
import os, signal, sys
from pathlib import Path
from serve_app.storage.feed import read_changes
from serve_app.storage.folder import open_folder
from serve_app.storage.rocks import RocksEngine

write = RocksEngine.write

def killed(self, records, facts):
    if sys.argv[2] == "after":
        write(self, records, facts)
    os.kill(os.getpid(), signal.SIGKILL)

RocksEngine.write = killed
open_folder(Path(sys.argv[1]), 0, cache_bytes=1 << 20, write_buffer_bytes=1 << 20)
"""


def kill_at_the_batch(at: Path, when: str) -> None:
    """Open the folder in a process that is killed just before, or just after, its first write."""
    process = subprocess.run([sys.executable, "-c", _KILLED, str(at), when], cwd=ROOT, check=False)
    assert process.returncode == -signal.SIGKILL


@EVERY_ONE
def test_an_interrupted_take_over_is_done_at_the_next_start(tmp_path: Path, left: Left) -> None:
    at = unpacked(tmp_path, left)
    kill_at_the_batch(at, "before")
    shutil.copytree(at, tmp_path / "looked-at")
    assert is_as_it_was(tmp_path / "looked-at", left)
    storage = open_bucket(at)
    check_everything(storage, left)
    storage.close()


@EVERY_ONE
def test_a_crash_after_the_batch_leaves_nothing_to_do(
    tmp_path: Path, left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = unpacked(tmp_path, left)
    kill_at_the_batch(at, "after")
    monkeypatch.setattr(RocksEngine, "write", None)
    storage = open_bucket(at)
    check_everything(storage, left)
    storage.close()


@CLOSED
def test_a_disk_that_refuses_the_batch_is_unusable_and_tried_again(
    tmp_path: Path, left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = unpacked(tmp_path, left)

    def refuse(*args: object) -> None:
        raise EngineFailed("no space")

    with monkeypatch.context() as patched:
        patched.setattr(RocksEngine, "write", refuse)
        with pytest.raises(StorageUnusable, match="no space"):
            open_bucket(at)
    assert is_as_it_was(at, left)
    storage = open_bucket(at)
    check_everything(storage, left)
    storage.close()


@EVERY_ONE
def test_it_is_one_batch_of_facts_alone(tmp_path: Path, left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    at = unpacked(tmp_path, left)
    batches: list[tuple[Changes, Changes]] = []
    write = RocksEngine.write

    def counted(self: RocksEngine, records: Changes, facts: Changes) -> None:
        batches.append((records, facts))
        write(self, records, facts)

    monkeypatch.setattr(RocksEngine, "write", counted)
    for _ in range(2):
        open_bucket(at).close()
    ((records, changed),) = batches
    assert not records
    assert dict(changed)[b"format"] == b"3"
    assert len(dict(changed)) == len(changed), "each fact once"
    if left.format == 2:
        assert {name for name, _ in changed} == {b"format", TOTALS, EXTENT}


@CLOSED
def test_commits_do_not_begin_anew_where_nothing_was_written_but_a_topology(tmp_path: Path, left: Left) -> None:
    """A number of 0 would say that there was no commit, so that whoever has none lacks nothing."""
    at = unpacked(tmp_path, left)
    engine = raw_engine(at)
    totals = (0, 0, 0) if left.format == 1 else (0, 0, 0, 1)
    engine.write(
        [(key, None) for key, _ in list(engine.scan())],
        [(name_in(left, b"totals"), LAYOUTS[left.format].pack(*totals))],
    )
    engine.close()
    storage = open_bucket(at)
    assert storage.facts.topology is not None
    assert storage.facts.totals == Totals(keys=0, bytes=0, revision=0, sequence=1)
    assert storage.facts.feed == Extent(since=0)
    storage.close()


# -- what is refused is not changed ----------------------------------------------------------------------------------


@CLOSED
def test_another_buckets_is_refused_and_left_as_it_is(tmp_path: Path, left: Left) -> None:
    at = unpacked(tmp_path, left)
    with pytest.raises(StorageForeign, match="belongs to bucket-0, not bucket-3"):
        open_bucket(at, 3)
    assert is_as_it_was(at, left)


@CLOSED
@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"identity", None),
        (b"identity", b"\xff" * 32),
        (b"bucket", None),
        (b"bucket", b"\xff"),
        (b"totals", None),
        (b"totals", b"short"),
        (b"topology", b"\x98" + msgspec.msgpack.encode(Topology(1, 1, 1, "s", ("a",)))[1:] + b"\x91" * 100_000),
        (b"cursor", b"\xc1"),
    ],
)
def test_damaged_facts_are_refused_and_left_as_they_are(
    tmp_path: Path, left: Left, name: bytes, value: bytes | None
) -> None:
    at = unpacked(tmp_path, left)
    engine = raw_engine(at)
    engine.write([], [(name_in(left, name), value)])
    engine.close()
    with pytest.raises(StorageDamaged):
        open_bucket(at)
    assert is_as_it_was(at, left)


@CLOSED
def test_a_count_that_cannot_be_is_refused_and_left_as_it_is(tmp_path: Path, left: Left) -> None:
    at = unpacked(tmp_path, left)
    engine = raw_engine(at)
    totals = (10_000, 10_000_000, 10_000, 10_000)[: left.format + 2]
    engine.write([], [(name_in(left, b"totals"), LAYOUTS[left.format].pack(*totals))])
    engine.close()
    with pytest.raises(StorageDamaged, match="counts 10,000 keys"):
        open_bucket(at)
    assert is_as_it_was(at, left)


@KILLED
def test_a_lost_end_of_the_log_is_noticed_before_the_batch_hides_it(tmp_path: Path, left: Left) -> None:
    """The batch takes numbers of its own, which would make up for those that are missing."""
    at = unpacked(tmp_path, left)
    log = max((at / "db").glob("*.log"), key=lambda path: path.stat().st_size)
    with log.open("r+b") as cut:
        cut.truncate(log.stat().st_size - 10)
    with pytest.raises(StorageDamaged, match="was acknowledged"):
        open_bucket(at)
    assert is_as_it_was(at, left)


@KILLED
def test_the_acknowledged_end_counts_the_batch(tmp_path: Path, left: Left) -> None:
    at = unpacked(tmp_path, left)
    storage = open_bucket(at)
    storage.close()
    mark = SyncedMark(at, left.identity)
    assert mark.sequence == raw_sequence(at)
    mark.close()


def raw_sequence(at: Path) -> int:
    engine = raw_engine(at)
    try:
        return engine.last_sequence()
    finally:
        engine.close()


@pytest.mark.parametrize("version", [b"4", b"17"])
def test_a_newer_format_is_refused_and_left_as_it_is(tmp_path: Path, version: bytes) -> None:
    storage = open_bucket(tmp_path / "b")
    storage.engine.write([], [(b"format", version)])
    storage.close()
    last = raw_sequence(tmp_path / "b")
    with pytest.raises(StorageNewer, match=f"format {int(version)}, made by a newer release; this one knows up to 3"):
        open_bucket(tmp_path / "b")
    assert raw_sequence(tmp_path / "b") == last


@pytest.mark.parametrize("version", [b"0", b"one", b"", b"-2", b"9" * 5000])
def test_a_format_that_never_was_is_damage(tmp_path: Path, version: bytes) -> None:
    storage = open_bucket(tmp_path / "b")
    storage.engine.write([], [(b"format", version)])
    storage.close()
    with pytest.raises(StorageDamaged, match="format"):
        open_bucket(tmp_path / "b")


def test_one_that_was_never_written_to_has_a_commit_too_for_its_topology_has_none() -> None:
    """Number 0 means no commit, and whoever has seen all since then has seen all facts."""
    stored = {b"format": b"1", b"totals": bytes(24), b"topology": b"as it was"}
    changed = dict(earlier_formats.take_over(stored.get))
    assert changed[TOTALS] == totals_fact(Totals(0, 0, 0, sequence=1))[1]
    assert changed[TOPOLOGY] == b"as it was"


@pytest.mark.parametrize("stored", [{}, {b"format": b"3"}, {b"format": b"4"}, {b"format": b"0"}, {b"format": b"one"}])
def test_of_any_other_format_nothing_is_taken_over(stored: dict[bytes, bytes]) -> None:
    assert earlier_formats.take_over({**stored, TOTALS: bytes(32), b"totals": bytes(24)}.get) == []


# -- one that was being made -----------------------------------------------------------------------------------------


def as_one_being_made(at: Path, *removed: bytes) -> None:
    """A folder of format 1 as the earlier release leaves it before the rename, without records and the facts named."""
    engine = raw_engine(at)
    engine.write([(key, None) for key, _ in list(engine.scan())], [(name, None) for name in removed])
    engine.close()
    (at / "db").rename(at / "db.new")
    (at / SYNCED).unlink()


def test_one_of_format_1_that_was_being_made_is_made_anew(tmp_path: Path) -> None:
    at = unpacked(tmp_path, CLOSED_1)
    as_one_being_made(at, earlier_formats.TOPOLOGY_1, b"cursor", b"markers")
    storage = open_bucket(at)
    assert storage.created
    storage.close()


def test_one_of_format_1_that_has_served_is_not_made_anew(tmp_path: Path) -> None:
    at = unpacked(tmp_path, CLOSED_1)
    as_one_being_made(at)
    with pytest.raises(StorageDamaged, match="has served"):
        open_bucket(at)
