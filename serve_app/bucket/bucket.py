"""One bucket: its records, the topology it has itself persisted, and whether it may serve an operation.

No sockets and no Ray in here. Everything runs on one event loop, except what `operations.py` decides in the writer's
thread and the reads that have to wait for the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from serve_app import events
from serve_app.bucket import judgement
from serve_app.bucket.judgement import Hold
from serve_app.bucket.platform import Platform
from serve_app.bucket.progress import Pace, progress
from serve_app.bucket.refusals import refused
from serve_app.bucket.stats import BucketStats
from serve_app.cursor import Cursor
from serve_app.errors import StorageDamaged, StorageFault, StorageForeign, StorageNewer
from serve_app.settings import Limits
from serve_app.storage import records
from serve_app.storage.commit import Commit
from serve_app.storage.committer import Committer
from serve_app.storage.engine import Engine, EngineFailed, NotInMemory
from serve_app.storage.facts import BucketFacts, StorageFacts, Totals
from serve_app.storage.group import Write
from serve_app.topology import Topology
from serve_app.wire import messages


class Storage(Protocol):
    """What a bucket is made of: an open engine, and the facts of the storage and of the bucket read when it opened."""

    @property
    def engine(self) -> Engine: ...

    @property
    def own(self) -> StorageFacts: ...

    @property
    def facts(self) -> BucketFacts: ...


class Served(NamedTuple):
    """What a bucket serves by. It is one value, which the loop replaces as a whole: a reading thread that looked at two would
    see one of them from before a change and one from after it.

    topology, cursor: both durable. fault: why the bucket serves nothing, or empty. holds_reads: whether reads of the window
    that is being moved are held as well.
    """

    topology: Topology | None
    cursor: Cursor | None
    fault: str = ""
    holds_reads: bool = False


class Bucket:
    """The records and rules of one bucket."""

    def __init__(
        self,
        storage: Storage,
        limits: Limits,
        *,
        incarnation: str,
        done: Callable[[list[Write], Commit | None], None],
        failed: Callable[[EngineFailed], None],
        platform: Platform = Platform(),  # noqa: B008 - it is immutable
    ) -> None:
        """Called in the writer's thread: `done` with each synced group and its commit, `failed` with what ends the writer."""
        self.platform = platform
        self.bucket_id = storage.own.bucket_id
        self.identity = storage.own.identity
        self.incarnation = incarnation
        self.clock = platform.monotonic_s
        #: Changed by the loop alone; whoever judges looks at it once.
        self._served = Served(storage.facts.topology, storage.facts.cursor, self._left_out_fault(storage))
        #: What the writer has decided, perhaps not yet durable: changed by the writer alone.
        self.decided_fault = self._served.fault
        self.decided_topology = storage.facts.topology
        self.decided_cursor = storage.facts.cursor
        self.decided_markers = dict(storage.facts.markers)
        #: The mover has read records from this key on; `touched` is set by a write to one of them.
        self.watched_from: bytes | None = None
        self.touched = False
        #: What a move, or its beginning, waits for, by who waits; for people.
        self.waiting: dict[str, str] = {}
        self._pace = Pace(platform.monotonic_s)
        self.last_error = ""
        #: The highest epoch that a directory has told this process of, be it one that only a lost authority had given away.
        self.heard_epoch = 0
        #: Ids of other buckets with data beside this one, as far as this process can see.
        self.siblings: tuple[int, ...] = ()
        self.stats = BucketStats()
        self._engine = storage.engine
        self._committer = Committer(
            storage.engine,
            storage.facts.totals,
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
            done=done,
            failed=failed,
        )

    @staticmethod
    def _left_out_fault(storage: Storage) -> str:
        """Why a storage that was opened must not be served, or empty."""
        topology, bucket_id = storage.facts.topology, storage.own.bucket_id
        # One that leaves this bucket out altogether is no fault: the store has gone on without it, and may want it again.
        if topology is None or bucket_id >= len(topology.identities) or topology.lists(bucket_id, storage.own.identity):
            return ""
        return f"the stored topology does not list this storage as bucket-{bucket_id}"

    def judge_write(self, call: int, key: bytes, epoch: int) -> messages.Reply | Hold | None:
        """Why this bucket doesn't carry out a write to the key, `HOLD`, or None if it does.

        By what the writer has decided, in order with the writes. Called by the writer.
        """
        if self.decided_fault:
            return messages.Refused(call, "fault", self.decided_fault)
        return judgement.judge(self.bucket_id, call, key, epoch, self.decided_topology, self.decided_cursor)

    def _judge_read(self, request: messages.Get, served: Served) -> messages.Reply | Hold | None:
        """As `judge_write`, of a read, by what is durable. It looks at nothing but `served`, for it may run in any thread."""
        if served.fault:
            return messages.Refused(request.call, "fault", served.fault)
        verdict = judgement.judge(
            self.bucket_id, request.call, request.key, request.epoch, served.topology, served.cursor
        )
        # Reads of the window go on until its records are about to be deleted.
        return None if isinstance(verdict, Hold) and not served.holds_reads else verdict

    def note_write(self, key: bytes) -> None:
        """Called by the writer for each record it changes: what the mover has read ahead may be stale then."""
        if self.watched_from is not None and key >= self.watched_from:
            self.touched = True

    def read_in_memory(self, request: messages.Get) -> messages.Reply | Hold | None:
        """The answer to a Get, `HOLD`, or None when the disk has to be asked (`read`)."""
        verdict = self._judge_read(request, self._served)
        if verdict is not None:
            return verdict
        raw = self._engine.get_in_memory(request.key)
        if isinstance(raw, NotInMemory):
            return None
        return self._value(request.call, raw)

    def read(self, request: messages.Get, arrived_s: float) -> messages.Reply | Hold:
        """The answer to a Get, from the disk if need be, or `HOLD`. Called in a reading thread; never raises."""
        if self.clock() >= arrived_s + request.timeout_ms / 1000:
            return messages.Refused(request.call, "expired", "the deadline passed before the bucket took it up")
        before = self._served
        try:
            reply = self._value(request.call, self._engine.get(request.key))
        except StorageFault as error:
            self.note_error(error)
            return refused(request.call, error)
        except Exception as error:
            events.error("read failed", exc_info=error, bucket=self.bucket_id)
            return messages.Refused(request.call, "fault", "the bucket made a mistake; its log says more")
        # Judged after the reading, so that a key that moved away meanwhile is not answered as missing; and within one epoch,
        # in which no key comes back: one that was away and is here again would not show.
        served = self._served
        verdict = self._judge_read(request, served)
        if verdict is None and served.topology is not before.topology:
            return self.read(request, arrived_s)
        return verdict or reply

    def _value(self, call: int, raw: bytes | None) -> messages.Reply:
        if raw is None:
            return messages.Missing(call)
        try:
            record = records.decode(raw)
        except (StorageDamaged, StorageNewer) as error:
            self.note_error(error)
            return refused(call, error)
        return messages.Value(call, record.value, record.content_type, record.revision)

    @property
    def durable(self) -> tuple[Topology | None, Cursor | None]:
        """The topology and cursor that this bucket serves by; both are on disk."""
        served = self._served
        return served.topology, served.cursor

    @property
    def topology(self) -> Topology | None:
        """The durable topology."""
        return self._served.topology

    @property
    def cursor(self) -> Cursor | None:
        """The durable cursor."""
        return self._served.cursor

    @property
    def fault(self) -> str:
        """Why this bucket serves nothing, or empty."""
        return self._served.fault

    def hold_reads(self, hold: bool) -> None:
        """Hold reads of the window that is being moved, or no more. On the loop, as all that changes what is served by."""
        self._served = self._served._replace(holds_reads=hold)

    def advance(self, cursor: Cursor) -> None:
        """Serve by a cursor that is now durable."""
        self._served = self._served._replace(cursor=cursor)
        self._pace.note(cursor)

    def may_take(self, new: Topology) -> bool:
        """Whether the writer is to take on a topology: it is newer, of this store, and lists this storage.

        Raises:
            StorageForeign: it is another store's, which changes nothing here; or it lists another storage under this id.
                That is decided then (`decided_fault`): its volume came back empty, or was given up.
        """
        own = self.decided_topology
        if own is not None:
            if own.store_id != new.store_id:
                raise StorageForeign(
                    f"the storage of bucket-{self.bucket_id} belongs to store {own.store_id}, not {new.store_id}"
                )
            if new.epoch <= own.epoch:
                return False  # late, or repeated
        if self.bucket_id < len(new.identities) and not new.lists(self.bucket_id, self.identity):
            self.decided_fault = (
                f"the storage of bucket-{self.bucket_id} has identity {self.identity}, but the store knows it as "
                f"{new.identities[self.bucket_id]}: its volume came back empty or is another one"
            )
            raise StorageForeign(self.decided_fault)
        return True

    def serve_nothing(self, fault: str) -> None:
        """For this reason, until a later topology lists this storage."""
        if fault != self._served.fault:
            events.error("storage refused", bucket=self.bucket_id, fault=fault)
        self._served = self._served._replace(fault=fault)

    def take_topology(self, topology: Topology, cursor: Cursor) -> None:
        """Serve by a topology that is now durable. It lists this storage, so whatever an earlier one said is past."""
        self._served = self._served._replace(topology=topology, cursor=cursor, fault="")
        self._pace.note(cursor)
        events.info("topology installed", bucket=self.bucket_id, epoch=topology.epoch, buckets=topology.bucket_count)

    def note_error(self, error: StorageFault) -> None:
        """Remember, and log once, what a read or write ran into."""
        text = str(error)
        if text != self.last_error:
            self.last_error = text
            events.error("storage " + error.kind, bucket=self.bucket_id, error=text)

    @property
    def disk_full(self) -> bool:
        """Whether the last group was refused space. Costs nothing, unlike a look at the disk."""
        return self._committer.disk_full

    def gauges(self) -> dict[str, int]:
        """What its metrics show. Unlike `status`, which is the loop's, it may be called in any thread."""
        totals = self._committer.totals
        return {
            "keys": totals.keys,
            "bytes": totals.bytes,
            "free_bytes": self._engine.free_bytes(),
            "queued_writes": self.writer.queued,
        }

    def status(self, call: int) -> messages.Status:
        """What this bucket knows of itself; keys and bytes are those of the last synced group. On the loop only."""
        totals, served = self._committer.totals, self._served
        waits_for = "; ".join(filter(None, list(self.waiting.values())))
        return messages.Status(
            call,
            self.bucket_id,
            self.identity,
            self.incarnation,
            served.topology,
            totals.keys,
            totals.bytes,
            totals.revision,
            self._engine.free_bytes(),
            self._committer.lacks_space(),
            self.writer.queued,
            served.fault,
            self.last_error,
            self.siblings,
            *progress(self.bucket_id, served.topology, served.cursor, self._pace, waits_for),
            self.heard_epoch,
        )

    def wait_for(self, who: str, what: str) -> None:
        """Remember what somebody waits for; empty for nothing."""
        if what and what != self.waiting.get(who):
            events.warning("move waits", bucket=self.bucket_id, reason=what)
        self.waiting[who] = what

    @property
    def totals(self) -> Totals:
        """Exact counts as of the last synced group."""
        return self._committer.totals

    @property
    def engine(self) -> Engine:
        return self._engine
