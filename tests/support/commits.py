"""Driving a `Committer` without threads: writes in, answers out."""

from __future__ import annotations

import math
from typing import Any

from serve_app.bucket.operation_write import OperationWrite
from serve_app.bucket.platform import Platform
from serve_app.bucket.queued import CalledWrite
from serve_app.bucket.standing import Standing
from serve_app.bucket.writer_state import WriterState
from serve_app.errors import StorageFault
from serve_app.operations import Delete, Put, WriteOperation
from serve_app.storage.commit import Commit
from serve_app.storage.committer import Committer, WriterStats
from serve_app.storage.engine import Engine
from serve_app.storage.extent import EXTENT, read_extent
from serve_app.storage.facts import Totals
from serve_app.storage.feed import FeedLog
from serve_app.storage.group import Write
from serve_app.topology import first_topology
from serve_app.wire.messages import Envelope


class NoCaller:
    """Nobody is told: a test looks at the writes themselves."""

    def answer(self, write: CalledWrite) -> None:
        raise AssertionError("there is no loop that would finish it")

    def hold(self, write: CalledWrite) -> None:
        raise AssertionError("there is no loop that would hold it")

    def flush(self) -> None:
        raise AssertionError("there is no connection")


def nobody_is_told(writes: list[Write], commit: Commit | None, standing: Standing, *, whole: bool) -> None:
    """A `GroupDone` for a bucket without a loop."""


class Commits:
    """A committer on an engine and a short way to run groups through it; of bucket 0, the only one."""

    def __init__(
        self,
        engine: Engine,
        totals: Totals = Totals(0, 0, 0),  # noqa: B008
        keep: int = 1000,
        platform: Platform = Platform(),  # noqa: B008 - it is immutable
        **options: Any,
    ) -> None:
        self.now_s = 100.0
        settings = {"reserve_bytes": 0, "max_answer_bytes": 1 << 20, **options}
        self.stats = WriterStats()
        feed = FeedLog(engine, read_extent(engine.get_fact(EXTENT), "the test"), keep)
        self.committer = Committer(engine, totals, feed, clock=lambda: self.now_s, stats=self.stats, **settings)
        #: What writes ran into.
        self.errors: list[StorageFault] = []
        standing = Standing(first_topology(("zero",)), None, {})
        self.state = WriterState(0, "zero", standing, platform, self.errors.append, 1000)
        #: The commits so far; None for a group that changed nothing, or met damage.
        self.made: list[Commit | None] = []
        self._call = 0

    def put(self, key: bytes, value: bytes, deadline_s: float = math.inf) -> OperationWrite:
        return self.write(Put(key, value, "text/plain"), deadline_s)

    def delete(self, key: bytes, deadline_s: float = math.inf) -> OperationWrite:
        return self.write(Delete(key), deadline_s)

    def write(self, operation: WriteOperation[Any], deadline_s: float = math.inf) -> OperationWrite:
        self._call += 1
        return OperationWrite(self.state, Envelope(self._call, 1000, 0, operation), NoCaller(), deadline_s, 0.0)

    def run(self, *group: Any) -> list[Any]:
        """Commit one group; the answers, in order."""
        assert self.commit(*group) == len(group)
        return [write.answer for write in group]

    def commit(self, *writes: Any) -> int:
        """Commit the writes from the first on; how many were taken."""
        group = self.committer.decide(writes)
        self.made.append(self.committer.write(group))
        return len(group.writes)
