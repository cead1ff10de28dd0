"""The committer: takes a group of writes, decides each in order against the state that the earlier ones leave, and writes one
synced batch. It has no thread and no queue (`writer.py` has both)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serve_app.errors import DiskFull, StorageFault, StoreError
from serve_app.latency import BOUNDS_COUNT, Histogram
from serve_app.storage.commit import Commit
from serve_app.storage.engine import Engine
from serve_app.storage.facts import Totals
from serve_app.storage.feed import FeedLog
from serve_app.storage.group import Group, Write


class WriterStats:
    """Sizes of groups (number of writes), and the seconds that writing and syncing each took."""

    def __init__(self) -> None:
        self.group_size = Histogram(BOUNDS_COUNT)
        self.sync_s = Histogram()


class Committer:
    """Decides and writes one group after the other. `totals` is exact after every group."""

    def __init__(
        self,
        engine: Engine,
        totals: Totals,
        feed: FeedLog,
        *,
        reserve_bytes: int,
        max_answer_bytes: int,
        clock: Callable[[], float],
        stats: WriterStats,
    ) -> None:
        """totals, feed: as of the last group on disk. reserve_bytes: while less is free, what needs space is refused.

        max_answer_bytes: a group whose answers hold more is cut short. clock: seconds, as the writes' deadlines.
        """
        self._stats = stats
        self._engine = engine
        self._feed = feed
        self._reserve_bytes = reserve_bytes
        self._max_answer_bytes = max_answer_bytes
        self._clock = clock
        self.totals = totals
        #: What the last group found; `lacks_space` looks again.
        self.disk_full = False
        self._stopped_by: StorageFault | None = None

    @property
    def damaged(self) -> bool:
        """Whether a group met damage: what that changed is in doubt, and no further group is written."""
        return self._stopped_by is not None

    def lacks_space(self) -> bool:
        """Whether the disk has less than its reserve left."""
        return self._engine.free_bytes() < self._reserve_bytes

    def decide(self, writes: Sequence[Write]) -> Group:
        """Decide the writes from the first on (at least one), until their answers together grow too large."""
        group = Group(self._engine, self.totals, self._feed)
        if self._stopped_by is not None:
            for write in writes:
                write.refuse(self._stopped_by)
            group.writes.extend(writes)
            return group
        now_s = self._clock()
        try:
            group.read_ahead([key for write in writes for key in write.keys])
        except StorageFault:
            pass  # the write that hits the damage meets it again alone, and only it is refused
        self.disk_full = group.lacks_space = self.lacks_space()
        for write in writes:
            self._decide(write, group, now_s)
            group.writes.append(write)
            if group.answer_bytes > self._max_answer_bytes:
                break
        return group

    def write(self, group: Group) -> Commit | None:
        """Make a decided group durable. The next one may be decided only after this.

        Returns:
            What is durable now; None where the group changed nothing, and where it met damage: whether that is on the disk
            shows only after a restart.

        Raises:
            EngineFailed: the write failed; what happened to the group is unknown and the process must end.
        """
        started_s = self._clock()
        try:
            commit = group.write()
        except StorageFault as fault:
            # RocksDB has met damage and takes no more writes. Starting again would meet it again: reads go on instead.
            self._stopped_by = fault
            for write in group.writes:
                write.leave_unknown(fault)
            return None
        if commit is not None:
            self._stats.sync_s.observe(self._clock() - started_s)
            self._stats.group_size.observe(len(group.writes))
        self.totals = group.totals
        return commit

    def _decide(self, write: Write, group: Group, now_s: float) -> None:
        if write.deadline_s <= now_s:
            write.expire()
        elif self.disk_full and write.needs_space:
            write.refuse(DiskFull(f"the disk has less than its reserve of {self._reserve_bytes:,} bytes left"))
        else:
            try:
                write.decide(group)
            except StoreError as error:
                write.refuse(error)
