"""The engine's contract: what every engine must do. Subclass `EngineContract` with a fixture `engine`."""

from __future__ import annotations

import threading

import pytest

from serve_app.storage.engine import Engine, NotInMemory


class EngineContract:
    @pytest.fixture
    def engine(self) -> Engine:
        raise NotImplementedError

    def test_what_was_written_is_read(self, engine: Engine) -> None:
        engine.write([(b"a", b"1"), (b"b\0\xff", b""), (b"c", b"x" * 100_000)], [])
        assert engine.get(b"a") == b"1"
        assert engine.get(b"b\0\xff") == b""
        assert engine.get(b"c") == b"x" * 100_000
        assert engine.get(b"d") is None
        assert engine.get_many([b"d", b"a", b"b\0\xff"]) == [None, b"1", b""]

    def test_the_last_write_of_a_key_wins(self, engine: Engine) -> None:
        engine.write([(b"a", b"1"), (b"a", b"2")], [])
        assert engine.get(b"a") == b"2"
        engine.write([(b"a", None)], [])
        assert engine.get(b"a") is None
        engine.write([(b"a", b"3"), (b"a", None), (b"never", None)], [])
        assert engine.get(b"a") is None

    def test_in_memory_answers_are_the_truth_or_not_known(self, engine: Engine) -> None:
        engine.write([(b"a", b"1"), (b"gone", b"1")], [])
        engine.write([(b"gone", None)], [])
        for key, truth in ((b"a", b"1"), (b"gone", None), (b"never", None)):
            answer = engine.get_in_memory(key)
            assert isinstance(answer, NotInMemory) or answer == truth

    def test_facts_are_apart_from_records(self, engine: Engine) -> None:
        engine.write([(b"same", b"record")], [(b"same", b"fact")])
        assert engine.get(b"same") == b"record"
        assert engine.get_fact(b"same") == b"fact"
        engine.write([], [(b"same", None)])
        assert engine.get_fact(b"same") is None
        assert engine.get(b"same") == b"record"
        assert list(engine.scan()) == [(b"same", b"record")]

    def test_scan_is_in_byte_order_and_bounded(self, engine: Engine) -> None:
        keys = [b"", b"\0", b"a", b"a\0", b"b", b"\xc3\xa4", b"\xff\xff"]
        engine.write([(key, b"v" + key) for key in reversed(keys) if key], [])
        assert [key for key, _ in engine.scan()] == keys[1:]
        assert [key for key, _ in engine.scan(b"a", b"b")] == [b"a", b"a\0"]
        assert [key for key, _ in engine.scan(b"b")] == [b"b", b"\xc3\xa4", b"\xff\xff"]
        assert list(engine.scan(b"b", b"b")) == []

    def test_a_scan_of_facts_is_in_byte_order_and_bounded(self, engine: Engine) -> None:
        names = [b"\0", b"a", b"a\0", b"a\0\xff", b"a\x01", b"b", b"b\xff\xff", b"\xff"]
        engine.write([(b"a", b"a record")], [(name, b"v" + name) for name in reversed(names)])
        assert list(engine.scan_facts(b"", b"\xff\xff")) == [(name, b"v" + name) for name in names]
        assert [name for name, _ in engine.scan_facts(b"a", b"b")] == names[1:5]
        assert [name for name, _ in engine.scan_facts(b"a\0", b"a\x01")] == names[2:4]
        assert [name for name, _ in engine.scan_facts(b"b", b"b\0")] == [b"b"]
        assert list(engine.scan_facts(b"b", b"b")) == []
        assert list(engine.scan_facts(b"c", b"\xff")) == []
        engine.write([], [(b"a\0", None), (b"a", b"new"), (b"a\x02", b"")])
        assert list(engine.scan_facts(b"a", b"b")) == [
            (b"a", b"new"),
            (b"a\0\xff", b"va\0\xff"),
            (b"a\x01", b"va\x01"),
            (b"a\x02", b""),
        ]

    def test_a_scan_of_facts_shows_the_state_as_of_the_call(self, engine: Engine) -> None:
        engine.write([], [(b"a", b"1"), (b"b", b"1")])
        cursor = engine.scan_facts(b"", b"z")
        engine.write([], [(b"a", b"2"), (b"b", None), (b"c", b"2")])
        assert list(cursor) == [(b"a", b"1"), (b"b", b"1")]
        assert list(engine.scan_facts(b"", b"z")) == [(b"a", b"2"), (b"c", b"2")]

    def test_scan_shows_the_state_as_of_the_call(self, engine: Engine) -> None:
        engine.write([(b"a", b"1"), (b"b", b"1")], [])
        cursor = engine.scan()
        engine.write([(b"a", b"2"), (b"b", None), (b"c", b"2")], [])
        assert list(cursor) == [(b"a", b"1"), (b"b", b"1")]

    def test_reads_while_writing_see_whole_batches(self, engine: Engine) -> None:
        """Two keys change together; a reader that reads them in the order of one batch never sees the second behind."""
        engine.write([(b"x", b"0"), (b"y", b"0")], [])
        stop = threading.Event()
        seen: list[str] = []

        def read() -> None:
            while not stop.is_set():
                second = engine.get(b"y")
                first = engine.get(b"x")
                assert first is not None
                assert second is not None
                if int(first) < int(second):
                    seen.append(f"x={first!r} y={second!r}")

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(1, 200):
            engine.write([(b"x", b"%d" % number), (b"y", b"%d" % number)], [])
        stop.set()
        reader.join()
        assert seen == []

    def test_reclaiming_changes_no_record(self, engine: Engine) -> None:
        engine.write([(b"k%03d" % n, b"v%d" % n) for n in range(300)], [(b"fact", b"1")])
        engine.write([(b"k%03d" % n, None) for n in range(0, 300, 2)], [(b"fact", b"2")])
        before = list(engine.scan())
        for _ in range(2):
            engine.reclaim(1 << 62)
            assert list(engine.scan()) == before
            assert engine.get(b"k000") is None
            assert engine.get(b"k001") == b"v1"
            assert engine.get_fact(b"fact") == b"2"

    def test_free_space_is_known(self, engine: Engine) -> None:
        assert engine.free_bytes() > 0

    @pytest.mark.parametrize("length", [3, 16, 24, 100])
    def test_a_scan_ends_at_its_bound_whatever_is_in_memory_meanwhile(self, engine: Engine, length: int) -> None:
        """RocksDB's iterators have a pointer to their bound, and no copy."""
        inside, beyond = [b"n/%04d" % number for number in range(2000)], [b"z%d" % number for number in range(100)]
        some = [(name, b"v" * 50) for name in inside + beyond]
        engine.write(some, some)
        for scan in (engine.scan, engine.scan_facts):
            found, made = [], []
            for name, _ in scan(b"n/", b"n/" + b"\xff" * (length - 2)):
                found.append(name)
                made += [b"x" * len(found), bytearray(16), bytearray(24), bytearray(100)]
            assert found == inside
