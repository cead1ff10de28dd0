"""The bucket against a dict: hypothesis drives groups of puts and deletes, crashes and reopenings."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from serve_app import operations, records
from serve_app.storage.engine import Engine
from serve_app.storage.facts import TOTALS, Totals, read_bucket_facts, totals_fact
from serve_app.storage.folder import OpenedStorage, open_folder
from tests.support.commits import Commits
from tests.support.memory_engine import MemoryEngine, new_bucket_engine

keys = st.sampled_from([b"a", b"b", b"\0", b"key/with/slash", "ключ".encode()])
values = st.binary(max_size=40) | st.just(b"x" * 70_000)
steps = st.one_of(st.tuples(st.just("put"), keys, values), st.tuples(st.just("delete"), keys, st.just(b"")))


class BucketMachine(RuleBasedStateMachine):
    """On the memory engine; a subclass runs on RocksDB."""

    engine: Engine

    @initialize()
    def begin(self) -> None:
        self.model: dict[bytes, bytes] = {}
        self.revisions: dict[bytes, int] = {}
        self.last_revision = self.last_sequence = 0
        self.open_engine()
        self.commits = Commits(self.engine)
        #: What somebody has who began with nothing and was given each commit.
        self.copy: dict[bytes, bytes] = {}
        self.copied_totals = totals_fact(Totals(0, 0, 0))[1]

    def open_engine(self) -> None:
        self.engine = new_bucket_engine(0)

    def reopen_engine(self) -> None:
        assert isinstance(self.engine, MemoryEngine)
        self.engine = self.engine.crash()

    @rule(group=st.lists(steps, min_size=1, max_size=12))
    def commit(self, group: list[tuple[str, bytes, bytes]]) -> None:
        made = [
            self.commits.put(key, value) if kind == "put" else self.commits.delete(key) for kind, key, value in group
        ]
        replies = self.commits.run(*made)
        changed = any(not isinstance(reply, operations.Missing) for reply in replies)
        commit = self.commits.made[-1]
        assert (commit is not None) == changed
        if commit is not None:
            self.last_sequence += 1
            assert commit.sequence == self.last_sequence
            self.copy = {key: raw for key, raw in {**self.copy, **dict(commit.records)}.items() if raw is not None}
            self.copied_totals = dict(commit.facts)[TOTALS] or b""
        for (kind, key, value), reply in zip(group, replies, strict=True):
            old = self.model.get(key)
            if kind == "put":
                assert isinstance(reply, operations.Written)
                assert reply.created == (old is None)
                self.model[key] = value
            elif old is None:
                assert isinstance(reply, operations.Missing)
                continue
            else:
                assert isinstance(reply, operations.Deleted)
                assert reply.value == old
                del self.model[key]
            assert reply.revision > self.last_revision, "revisions grow with every write of a bucket"
            self.last_revision = self.revisions[key] = reply.revision

    @rule()
    def crash_and_reopen(self) -> None:
        self.reopen_engine()
        self.commits = Commits(self.engine, read_bucket_facts(self.engine.get_fact, "here").totals)

    @invariant()
    def the_engine_holds_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        stored = {key: records.decode(raw) for key, raw in self.engine.scan()}
        assert {key: record.value for key, record in stored.items()} == self.model
        assert all(record.revision == self.revisions[key] for key, record in stored.items())
        assert all(0 < record.created_ms <= record.modified_ms for record in stored.values())
        sizes = sum(len(key) + len(raw) for key, raw in self.engine.scan())
        expected = Totals(len(self.model), sizes, self.last_revision, self.last_sequence)
        assert self.commits.committer.totals == expected
        assert self.copy == dict(self.engine.scan())
        assert self.copied_totals == totals_fact(expected)[1]
        assert read_bucket_facts(self.engine.get_fact, "here").totals == expected


class RocksBucketMachine(BucketMachine):
    def open_engine(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.storage = self._open()

    def reopen_engine(self) -> None:
        self.storage.close()
        self.storage = self._open()

    def _open(self) -> OpenedStorage:
        storage = open_folder(Path(self.folder.name) / "b", 0, cache_bytes=1 << 20, write_buffer_bytes=64 << 10)
        self.engine = storage.engine
        return storage

    def teardown(self) -> None:
        if hasattr(self, "storage"):
            self.storage.close()
            self.folder.cleanup()


@pytest.mark.parametrize(
    ("machine", "examples"), [(BucketMachine, 150), (RocksBucketMachine, 25)], ids=["memory", "rocksdb"]
)
def test_bucket_equals_a_dict(machine: type[BucketMachine], examples: int) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=15, deadline=None))
