"""Both engines under the one contract, and what only a real one can show: coming back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.errors import StorageInUse
from serve_app.storage.engine import Engine, NotInMemory
from serve_app.storage.rocks import RocksEngine
from tests.storage.contract import EngineContract
from tests.support.memory_engine import MemoryEngine

SIZES = {"cache_bytes": 1 << 20, "write_buffer_bytes": 1 << 20}


class TestMemoryEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return MemoryEngine()


class TestRocksEngine(EngineContract):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        engine = RocksEngine(tmp_path / "db", create=True, **SIZES)
        yield engine
        engine.close()


class TestRocksEngineOnDisk(EngineContract):
    """The same with every record flushed out of the memtable again and again: a tiny write buffer and cache."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        engine = RocksEngine(tmp_path / "db", create=True, cache_bytes=1 << 20, write_buffer_bytes=64 << 10)
        engine.write([(b"\xfe%d" % number, b"filler" * 1000) for number in range(200)], [])
        engine.write([(b"\xfe%d" % number, None) for number in range(200)], [])
        yield engine
        engine.close()


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path / "db", create=True, **SIZES)
    engine.write([(b"a", b"1"), (b"b", b"2")], [(b"fact", b"3")])
    engine.write([(b"b", None)], [])
    engine.close()
    for _ in range(3):
        engine = RocksEngine(tmp_path / "db", create=False, **SIZES)
        assert list(engine.scan()) == [(b"a", b"1")]
        assert engine.get_fact(b"fact") == b"3"
        engine.close()


@pytest.mark.parametrize("tables", [1, 4])
def test_what_is_only_on_disk_is_not_known_in_memory(tmp_path: Path, tables: int) -> None:
    """After reopening nothing is cached: no answer from memory may be made up. Four tables are compacted into a lower
    level, where not even the index is in memory; RocksDB then says "found", with an empty value."""
    for table in range(tables):
        engine = RocksEngine(tmp_path / "db", create=table == 0, **SIZES)
        engine.write([(b"k%03d" % number, b"v%d" % number) for number in range(500)], [])
        engine.close()  # flushes to a table
    engine = RocksEngine(tmp_path / "db", create=False, **SIZES)
    answers = [engine.get_in_memory(b"k%03d" % number) for number in range(500)]
    assert all(isinstance(got, NotInMemory) or got == b"v%d" % number for number, got in enumerate(answers))
    assert any(isinstance(got, NotInMemory) for got in answers), "nothing was cold, so nothing was tested"
    assert [engine.get(b"k%03d" % number) for number in range(500)] == [b"v%d" % number for number in range(500)]
    deadline_s = time.monotonic() + 30  # a compaction behind the scenes may replace the table that was read
    while engine.get_in_memory(b"k007") != b"v7":
        assert engine.get(b"k007") == b"v7"
        assert time.monotonic() < deadline_s, "what was read is cached"
    engine.close()


def test_a_second_opener_is_refused(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path / "db", create=True, **SIZES)
    with pytest.raises(StorageInUse):
        RocksEngine(tmp_path / "db", create=False, **SIZES)
    engine.close()
    RocksEngine(tmp_path / "db", create=False, **SIZES).close()


def test_close_can_be_called_twice(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path / "db", create=True, **SIZES)
    engine.close()
    engine.close()
