"""What a bucket's writer decides: put, delete, and taking on a topology.

Each holds its request, is decided against the state that the earlier operations of its group leave, and ends with `reply`,
which the server sends after the group's sync.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_app import topology
from serve_app.bucket.judgement import Hold
from serve_app.bucket.refusals import refused
from serve_app.cursor import Cursor, cursor_for, markers_for
from serve_app.errors import InvalidRequest, StorageFault, StoreError
from serve_app.storage import facts, records
from serve_app.storage.group import Group
from serve_app.wire import messages

if TYPE_CHECKING:
    from serve_app.bucket.bucket import Bucket

# What an operation costs in a queue beside its key and value.
_OVERHEAD_BYTES = 200


class BucketOperation:
    """What all share; see `storage.group.Write`."""

    __slots__ = (
        "arrived_s",
        "bucket",
        "call",
        "deadline_s",
        "held",
        "key",
        "needs_space",
        "reply",
        "reply_to",
        "request",
        "size_bytes",
    )

    def __init__(self, bucket: Bucket, request: messages.Request, reply_to: object, deadline_s: float) -> None:
        self.bucket = bucket
        self.request = request
        self.reply_to = reply_to
        self.deadline_s = deadline_s
        self.call: int = request.call  # type: ignore[union-attr]
        self.key: bytes | None = None
        self.size_bytes = _OVERHEAD_BYTES
        self.needs_space = False
        self.reply: messages.Reply | None = None
        #: Its key is just being moved: it is decided again when that is over.
        self.held = False
        self.arrived_s = 0.0

    def decide(self, group: Group) -> None:
        """Change the group's state and leave a reply."""
        raise NotImplementedError

    def refuse(self, error: StoreError) -> None:
        if isinstance(error, StorageFault):
            self.bucket.note_error(error)
        self.reply = refused(self.call, error)

    def leave_unknown(self, error: StorageFault) -> None:
        """Its group could not be written whole: it may or may not come back with the log."""
        if self.held:  # it changed nothing, and no window will be over that it could wait for
            self.held = False
            self.refuse(error)
            return
        self.bucket.note_error(error)
        self.reply = messages.Refused(self.call, "unknown", str(error))

    def expire(self) -> None:
        self.reply = messages.Refused(self.call, "expired", "the deadline passed before the bucket took it up")


class _RecordOperation(BucketOperation):
    """A write to one key's record, carried out only where the key is at home."""

    __slots__ = ()
    request: messages.Put | messages.Delete

    def decide(self, group: Group) -> None:
        bucket, request = self.bucket, self.request
        verdict = bucket.judge_write(self.call, request.key, request.epoch)
        self.held = isinstance(verdict, Hold)
        if isinstance(verdict, Hold):
            return
        self.reply = verdict
        if verdict is None:
            bucket.note_write(request.key)
            self.carry_out(group)

    def carry_out(self, group: Group) -> None:
        raise NotImplementedError


class PutOperation(_RecordOperation):
    """Store a value under a key, new or not."""

    __slots__ = ()
    request: messages.Put

    def __init__(self, bucket: Bucket, request: messages.Put, reply_to: object, deadline_s: float) -> None:
        super().__init__(bucket, request, reply_to, deadline_s)
        self.key = request.key
        self.size_bytes = _OVERHEAD_BYTES + len(request.key) + len(request.value)
        self.needs_space = True

    def carry_out(self, group: Group) -> None:
        request = self.request
        old = group.get(request.key)
        now_ms = self.bucket.platform.now_ms()
        created_ms = now_ms if old is None else records.created_ms(old)
        revision = group.next_revision()
        record = records.Record(request.value, request.content_type, revision, created_ms, now_ms)
        group.put(request.key, records.encode(record))
        self.reply = messages.Written(self.call, old is None, revision)


class DeleteOperation(_RecordOperation):
    """Remove a key's record and answer with what it held."""

    __slots__ = ()
    request: messages.Delete

    def __init__(self, bucket: Bucket, request: messages.Delete, reply_to: object, deadline_s: float) -> None:
        super().__init__(bucket, request, reply_to, deadline_s)
        self.key = request.key
        self.size_bytes = _OVERHEAD_BYTES + len(request.key)

    def carry_out(self, group: Group) -> None:
        raw = group.get(self.request.key)
        if raw is None:
            self.reply = messages.Missing(self.call)
            return
        old = records.decode(raw)
        group.delete(self.request.key)
        group.answer_bytes += len(raw)
        self.reply = messages.Deleted(self.call, old.value, old.content_type, group.next_revision())


class InstallOperation(BucketOperation):
    """Take on a newer topology, if it lists this very storage."""

    __slots__ = ("fault", "installed", "installed_cursor")
    request: messages.Install

    def __init__(self, bucket: Bucket, request: messages.Install, reply_to: object, deadline_s: float) -> None:
        super().__init__(bucket, request, reply_to, deadline_s)
        #: Why the bucket serves nothing from here on, where that was decided.
        self.fault = ""
        self.installed: topology.Topology | None = None
        self.installed_cursor: Cursor | None = None

    def decide(self, group: Group) -> None:
        self._take(group, self.request.topology)

    def leave_unknown(self, error: StorageFault) -> None:
        self.installed = self.installed_cursor = None  # it may be gone after a restart, so nobody may hear of it
        super().leave_unknown(error)

    def _take(self, group: Group, new: topology.Topology) -> None:
        bucket = self.bucket
        try:
            taken = bucket.may_take(new)
        finally:
            self.fault = bucket.decided_fault
        if not taken:
            return
        self.fault = bucket.decided_fault = ""  # it lists this storage, so whatever an earlier one said is past
        old = bucket.decided_topology
        bucket.decided_topology = new  # before the markers: see survey.py
        # In one batch with the topology: a move's epoch never meets another move's cursor or markers.
        bucket.decided_cursor = cursor_for(new, bucket.bucket_id, old, bucket.decided_cursor, group.keys, group.bytes)
        bucket.decided_markers = markers_for(new, old, bucket.decided_markers)
        group.set_fact(*facts.topology_fact(new))
        group.set_fact(*facts.cursor_fact(bucket.decided_cursor))
        group.set_fact(*facts.markers_fact(bucket.decided_markers))
        self.installed, self.installed_cursor = new, bucket.decided_cursor


class EstablishOperation(InstallOperation):
    """Found the store: bucket 0 commits `STABLE(1, M)`. The first to ask wins, whatever the others ask for."""

    __slots__ = ()
    request: messages.Establish  # type: ignore[assignment]

    def decide(self, group: Group) -> None:
        if self.bucket.decided_topology is not None:
            return
        if self.bucket.bucket_id != 0:
            raise InvalidRequest("only bucket 0 founds the store")
        if group.keys:
            raise InvalidRequest("bucket 0 holds records but knows of no store")
        try:
            new = topology.first_topology(self.request.identities, self.bucket.platform.new_id(16))
        except ValueError as error:
            raise InvalidRequest(str(error)) from None
        if not new.lists(0, self.bucket.identity):
            raise InvalidRequest("bucket 0 is entered with another identity than it has")  # asked for before a restart
        self._take(group, new)
