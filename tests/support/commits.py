"""Driving a `Committer` without threads: operations in, replies out."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from serve_app.bucket import operations
from serve_app.bucket.platform import Platform
from serve_app.storage.commit import Commit
from serve_app.storage.committer import Committer, WriterStats
from serve_app.storage.engine import Engine
from serve_app.storage.facts import Totals
from serve_app.wire import messages


class FakeBucket(SimpleNamespace):
    """What an operation asks of its bucket."""

    decided_topology = None
    decided_cursor = None
    platform = Platform()

    def judge_write(self, call: int, key: bytes, epoch: int) -> None:
        return None

    def note_write(self, key: bytes) -> None:
        pass

    def note_error(self, error: Exception) -> None:
        self.errors.append(error)


class Commits:
    """A committer on an engine and a short way to run groups through it."""

    def __init__(self, engine: Engine, totals: Totals = Totals(0, 0, 0), **options: Any) -> None:  # noqa: B008
        self.now_s = 100.0
        settings = {"reserve_bytes": 0, "max_answer_bytes": 1 << 20, **options}
        self.stats = WriterStats()
        self.committer = Committer(engine, totals, clock=lambda: self.now_s, stats=self.stats, **settings)
        self.bucket: Any = FakeBucket(errors=[])
        #: The commits so far; None for a group that changed nothing, or met damage.
        self.made: list[Commit | None] = []
        self._call = 0

    def put(self, key: bytes, value: bytes, deadline_s: float = math.inf) -> operations.PutOperation:
        self._call += 1
        request = messages.Put(self._call, 1000, key, value, "text/plain")
        return operations.PutOperation(self.bucket, request, None, deadline_s)

    def delete(self, key: bytes, deadline_s: float = math.inf) -> operations.DeleteOperation:
        self._call += 1
        return operations.DeleteOperation(self.bucket, messages.Delete(self._call, 1000, key), None, deadline_s)

    def run(self, *group: Any) -> list[Any]:
        """Commit one group; the replies, in order."""
        assert self.commit(*group) == len(group)
        return [operation.reply for operation in group]

    def commit(self, *writes: Any) -> int:
        """Commit the writes from the first on; how many were taken."""
        group = self.committer.decide(writes)
        self.made.append(self.committer.write(group))
        return len(group.writes)
