"""One bucket: its records, the topology it has itself persisted, and whether it may serve an operation.

No sockets and no Ray in here. Everything runs on one event loop, except what `operations.py` decides in the writer's
thread and the reads that have to wait for the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from serve_app import events, placement
from serve_app.bucket.refusals import refused
from serve_app.bucket.stats import BucketStats
from serve_app.errors import StorageDamaged, StorageFault, StorageForeign, StorageNewer
from serve_app.settings import Limits
from serve_app.storage import records
from serve_app.storage.engine import Engine, EngineFailed, NotInMemory
from serve_app.storage.facts import Facts
from serve_app.storage.group_commit import Committer, Operation, WriterThread
from serve_app.topology import Topology
from serve_app.wire import messages


class Storage(Protocol):
    """What a bucket is made of: an open engine and the facts read when it opened."""

    @property
    def engine(self) -> Engine: ...

    @property
    def facts(self) -> Facts: ...


class Bucket:
    """The records and rules of one bucket."""

    def __init__(
        self,
        storage: Storage,
        limits: Limits,
        *,
        incarnation: str,
        done: Callable[[list[Operation]], None],
        failed: Callable[[EngineFailed], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`done` is called in the writer's thread with each synced group, `failed` with the error that ends it."""
        self.bucket_id = storage.facts.bucket_id
        self.identity = storage.facts.identity
        self.incarnation = incarnation
        self.clock = clock
        #: What it serves by: durable.
        self.topology = storage.facts.topology
        #: What the writer has decided, perhaps not yet durable: only the writer looks at it.
        self.decided_topology = storage.facts.topology
        self.fault = ""
        self.last_error = ""
        #: Ids of other buckets with data beside this one, as far as this process can see.
        self.siblings: tuple[int, ...] = ()
        self.stats = BucketStats()
        self._engine = storage.engine
        self._committer = Committer(
            storage.engine,
            storage.facts.totals,
            reserve_bytes=limits.disk_reserve_bytes,
            max_answer_bytes=limits.max_group_bytes,
            clock=clock,
            stats=self.stats.writer,
        )
        self.writer = WriterThread(
            self._committer,
            max_queued=limits.max_queued_writes,
            max_queued_bytes=limits.max_queued_write_bytes,
            max_group=limits.max_group_writes,
            max_group_bytes=limits.max_group_bytes,
            done=done,
            failed=failed,
        )
        if self.topology is not None and not self.topology.lists(self.bucket_id, self.identity):
            self.fault = f"the stored topology does not list this storage as bucket-{self.bucket_id}"

    def turns_away(self, call: int, key: bytes, topology: Topology | None) -> messages.Reply | None:
        """Why this bucket doesn't serve an operation on the key under a topology of its own, or None if it does.

        Reads are judged by the durable topology; the writer by what it has decided, in order with the writes.
        """
        if self.fault:
            return messages.Refused(call, "fault", self.fault)
        if topology is None or placement.bucket_of(key, topology.bucket_count) != self.bucket_id:
            return messages.Moved(call, topology)
        return None

    def read_in_memory(self, request: messages.Get) -> messages.Reply | None:
        """The answer to a Get, or None when the disk has to be asked (`read`)."""
        turned_away = self.turns_away(request.call, request.key, self.topology)
        if turned_away is not None:
            return turned_away
        raw = self._engine.get_in_memory(request.key)
        if isinstance(raw, NotInMemory):
            return None
        return self._value(request.call, raw)

    def read(self, request: messages.Get, arrived_s: float) -> messages.Reply:
        """The answer to a Get, from the disk if need be. Called in a reading thread; whatever happens, there is an answer."""
        if self.clock() >= arrived_s + request.timeout_ms / 1000:
            return messages.Refused(request.call, "expired", "the deadline passed before the bucket took it up")
        try:
            reply = self._value(request.call, self._engine.get(request.key))
        except StorageFault as error:
            self.note_error(error)
            return refused(request.call, error)
        except Exception as error:
            events.error("read failed", exc_info=error, bucket=self.bucket_id)
            return messages.Refused(request.call, "fault", "the bucket made a mistake; its log says more")
        # Judged after the reading, so that a key that moved away meanwhile is not answered as missing.
        return self.turns_away(request.call, request.key, self.topology) or reply

    def _value(self, call: int, raw: bytes | None) -> messages.Reply:
        if raw is None:
            return messages.Missing(call)
        try:
            record = records.decode(raw)
        except (StorageDamaged, StorageNewer) as error:
            self.note_error(error)
            return refused(call, error)
        return messages.Value(call, record.value, record.content_type, record.revision)

    def may_take(self, new: Topology) -> bool:
        """Whether the writer is to take on a topology: it is newer, of this store, and lists this storage.

        Raises:
            StorageForeign: it is another store's, which changes nothing here; or it lists another storage under this id.
                After that this bucket serves nothing: its volume came back empty, or was given up.
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
            self.fault = (
                f"the storage of bucket-{self.bucket_id} has identity {self.identity}, but the store knows it as "
                f"{new.identities[self.bucket_id]}: its volume came back empty or is another one"
            )
            events.error("storage refused", bucket=self.bucket_id, fault=self.fault)
            raise StorageForeign(self.fault)
        return True

    def take_topology(self, topology: Topology) -> None:
        """Serve by a topology that is now durable. It lists this storage, so whatever an earlier one said is past."""
        self.topology = topology
        self.fault = ""
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

    def status(self, call: int) -> messages.Status:
        """What this bucket knows of itself; keys and bytes are those of the last synced group."""
        totals = self._committer.totals
        return messages.Status(
            call,
            self.bucket_id,
            self.identity,
            self.incarnation,
            self.topology,
            totals.keys,
            totals.bytes,
            totals.revision,
            self._engine.free_bytes(),
            self._committer.lacks_space(),
            self.writer.queued,
            self.fault,
            self.last_error,
            self.siblings,
        )
