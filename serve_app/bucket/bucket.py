"""One bucket: its records, what it serves by, its writer, and what it remembers for people.

No sockets and no Ray in here. Everything runs on one event loop, except what the writer's thread decides (`writer_state.py`)
and the reads that have to wait for the disk (`reader.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from serve_app import events
from serve_app.bucket.platform import Platform
from serve_app.bucket.progress import Pace
from serve_app.bucket.reader import Reader
from serve_app.bucket.standing import Served, Standing, standing_at_start
from serve_app.bucket.stats import BucketStats
from serve_app.bucket.writer_state import WriterState
from serve_app.errors import StorageFault
from serve_app.settings import Limits
from serve_app.storage.commit import Commit
from serve_app.storage.committer import Committer
from serve_app.storage.engine import Engine, EngineFailed
from serve_app.storage.facts import BucketFacts, StorageFacts, Totals
from serve_app.storage.feed import FeedLog
from serve_app.storage.group import Write


class Storage(Protocol):
    """What a bucket is made of: an open engine, and the facts of the storage and of the bucket read when it opened."""

    @property
    def engine(self) -> Engine: ...

    @property
    def own(self) -> StorageFacts: ...

    @property
    def facts(self) -> BucketFacts: ...


class GroupDone(Protocol):
    """Gets each group when it is durable: its writes, its commit, and the standing that it leaves; in the writer's thread.
    whole is False where the group met damage."""

    def __call__(self, writes: list[Write], commit: Commit | None, standing: Standing, *, whole: bool) -> None: ...


class Bucket:
    """See the module."""

    def __init__(
        self,
        storage: Storage,
        limits: Limits,
        *,
        incarnation: str,
        on_group_done: GroupDone,
        failed: Callable[[EngineFailed], None],
        platform: Platform = Platform(),  # noqa: B008 - it is immutable
    ) -> None:
        """`failed` is called in the writer's thread with the error that ends it."""
        self.bucket_id = storage.own.bucket_id
        self.identity = storage.own.identity
        self.incarnation = incarnation
        self.clock = platform.monotonic_s
        self.now_ms = platform.now_ms
        self.stats = BucketStats()
        self._engine = storage.engine
        standing = standing_at_start(storage.own, storage.facts)
        #: What is served by. One value, changed by the loop alone; whoever judges looks at it once.
        self._served = Served(standing)
        #: The writer's own.
        self.state = WriterState(
            self.bucket_id,
            self.identity,
            standing,
            platform,
            self.note_error,
            limits.max_outcomes,
            storage.own.vote,
        )
        self._on_group_done = on_group_done
        self._committer = Committer(
            storage.engine,
            storage.facts.totals,
            FeedLog(storage.engine, storage.facts.feed, limits.watch_history),
            reserve_bytes=limits.disk_reserve_bytes,
            max_answer_bytes=limits.max_group_bytes,
            clock=platform.monotonic_s,
            stats=self.stats.writer,
        )
        self.writer = platform.writer(
            self._committer,
            max_queued=limits.max_queued_writes,
            max_queued_bytes=limits.max_queued_write_bytes,
            max_group=limits.max_group_writes,
            max_group_bytes=limits.max_group_bytes,
            group_done=self._group_done,
            failed=failed,
        )
        self.reader = Reader(self)
        self.pace = Pace(platform.monotonic_s)
        #: What a move, or its beginning, waits for, by who waits; for people.
        self.waiting: dict[str, str] = {}
        self.last_error = ""
        #: The highest epoch that a directory has told this process of, also one that only a lost authority had given away.
        self.heard_epoch = 0
        #: Ids of other buckets with data beside this one, as far as this process can see.
        self.siblings: tuple[int, ...] = ()

    # -- what is served by -------------------------------------------------------------------------------------------

    @property
    def served(self) -> Served:
        """What reads are judged by; all of it is on disk. May be looked at in any thread, once for each judgement."""
        return self._served

    @property
    def standing(self) -> Standing:
        """The durable topology, cursor and markers, and the fault."""
        return self._served.standing

    def _group_done(self, writes: list[Write], commit: Commit | None) -> None:
        """In the writer's thread, which owns the state, between this group and the next."""
        self._on_group_done(writes, commit, self.state.standing, whole=not self._committer.damaged)

    def serve_by(self, standing: Standing, *, whole: bool = True) -> bool:
        """The one place where what the writer has decided becomes what is served by. On the loop, in the order of the groups.

        whole: its group is durable. Of one that met damage, and may be gone after a restart, nothing is served by, nor told
        to others; but that the storage must not be served holds. Returns whether the topology is another one than before.
        """
        before = self.standing
        if not whole:
            standing = before._replace(fault=standing.fault or before.fault)
        if standing is before:
            return False
        if standing.fault and standing.fault != before.fault:
            events.error("storage refused", bucket=self.bucket_id, fault=standing.fault)
        self._served = self._served._replace(standing=standing)
        if standing.cursor is not None and standing.cursor is not before.cursor:
            self.pace.note(standing.cursor)
        topology = standing.topology
        if topology is None or topology is before.topology:
            return False
        events.info("topology installed", bucket=self.bucket_id, epoch=topology.epoch, buckets=topology.bucket_count)
        return True

    def hold_reads(self, hold: bool) -> None:
        """Hold reads of the window that is being moved, or no more. On the loop, as all that changes what is served by."""
        self._served = self._served._replace(holds_reads=hold)

    # -- its storage -------------------------------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def totals(self) -> Totals:
        """Exact counts as of the last synced group."""
        return self._committer.totals

    @property
    def disk_full(self) -> bool:
        """Whether the last group was refused space. Costs nothing, unlike `lacks_space`."""
        return self._committer.disk_full

    def lacks_space(self) -> bool:
        """Whether the disk has less than its reserve left."""
        return self._committer.lacks_space()

    # -- for people --------------------------------------------------------------------------------------------------

    def note_error(self, error: StorageFault) -> None:
        """Remember, and log once, what a read or write ran into. In any thread."""
        text = str(error)
        if text != self.last_error:
            self.last_error = text
            events.error("storage " + error.kind, bucket=self.bucket_id, error=text)

    def report_waiting(self, who: str, what: str) -> None:
        """Remember what somebody waits for; empty for nothing."""
        if what and what != self.waiting.get(who):
            events.warning("move waits", bucket=self.bucket_id, reason=what)
        self.waiting[who] = what
