"""What a bucket's writer decides for a move: the source's steps, the target's, and the authority's.

Those of the bucket's own (`OwnOperation`) come from its mover or coordinator and are awaited; they are decided in the same
order as the clients' writes, which is what makes "from here on" exact.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from serve_app import events
from serve_app.bucket.operations import BucketOperation, InstallOperation
from serve_app.cursor import Cursor, Marker
from serve_app.errors import InvalidRequest, StorageFault, StoreError
from serve_app.resharding.source import Overtaken, Records
from serve_app.storage import facts
from serve_app.storage.group import Group
from serve_app.topology import Topology
from serve_app.wire import messages

if TYPE_CHECKING:
    from serve_app.bucket.bucket import Bucket

_NEVER_S = float("inf")


class Awaited(BucketOperation):
    """An operation of the bucket's own: its end comes by the future `done`, after the group's sync."""

    done: asyncio.Future[None]
    error: Exception | None

    def refuse(self, error: StoreError) -> None:
        if isinstance(error, StorageFault):
            self.bucket.note_error(error)
        self.error = error

    def leave_unknown(self, error: StorageFault) -> None:
        super().leave_unknown(error)
        self.error = error

    def finish(self) -> None:
        """On the loop, after the sync."""
        if self.done.done():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(None)


class OwnOperation(Awaited):
    """A step of the mover. One that moves the cursor is served by from `finish` on, in the order of the groups: an install
    may come close behind."""

    def __init__(self, bucket: Bucket, done: asyncio.Future[None]) -> None:
        super().__init__(bucket, messages.Inspect(0, 0), None, _NEVER_S)
        self.done = done
        self.error = None

    def _expect(self, cursor: Cursor) -> None:
        """The step is made for this cursor, in this cursor's epoch."""
        if self.bucket.decided_cursor != cursor:
            raise Overtaken("the cursor is another one by now")


class WatchOperation(OwnOperation):
    """From here on, note writes to keys from `start` on: the mover is about to read them. Changes nothing."""

    def __init__(self, bucket: Bucket, done: asyncio.Future[None], start: bytes) -> None:
        super().__init__(bucket, done)
        self.start = start

    def decide(self, group: Group) -> None:
        self.bucket.watched_from = self.start
        self.bucket.touched = False


class IntentOperation(OwnOperation):
    """Make the intent to move [cursor, end) durable. Writes that are decided after it are held."""

    def __init__(self, bucket: Bucket, done: asyncio.Future[None], before: Cursor, cursor: Cursor) -> None:
        super().__init__(bucket, done)
        self.before, self.cursor = before, cursor
        self.touched = False

    def decide(self, group: Group) -> None:
        self._expect(self.before)
        bucket = self.bucket
        self.touched, bucket.watched_from = bucket.touched, None
        bucket.decided_cursor = self.cursor
        group.set_fact(*facts.cursor_fact(self.cursor))

    def finish(self) -> None:
        if self.error is None:
            self.bucket.advance(self.cursor)
        super().finish()


class AdvanceOperation(OwnOperation):
    """Delete the window's records and advance the cursor, in one batch: every target has acknowledged them."""

    def __init__(
        self, bucket: Bucket, done: asyncio.Future[None], before: Cursor, cursor: Cursor, records: Records
    ) -> None:
        super().__init__(bucket, done)
        self.before, self.cursor, self.records = before, cursor, records

    def decide(self, group: Group) -> None:
        self._expect(self.before)
        for key, raw in self.records:
            group.drop(key, len(raw))  # reading one might fail, with the others before it deleted and the cursor left
        self.bucket.decided_cursor = self.cursor
        group.set_fact(*facts.cursor_fact(self.cursor))

    def finish(self) -> None:
        if self.error is None:
            self.bucket.advance(self.cursor)
        super().finish()


class CommitOperation(Awaited, InstallOperation):
    """The authority's own change of the topology: bucket 0 commits what follows the topology `before`."""

    def __init__(self, bucket: Bucket, done: asyncio.Future[None], before: Topology | None, new: Topology) -> None:
        super().__init__(bucket, messages.Install(0, 0, new), None, _NEVER_S)
        self.done, self.before, self.new = done, before, new
        self.error = None

    def decide(self, group: Group) -> None:
        if self.bucket.decided_topology != self.before:
            raise Overtaken("the topology is another one by now")
        self._take(group, self.new)


class WindowOperation(BucketOperation):
    """Take a window of another bucket's keys: its records and the marker, in one batch."""

    __slots__ = ()
    request: messages.Window

    def __init__(self, bucket: Bucket, request: messages.Window, reply_to: object, deadline_s: float) -> None:
        super().__init__(bucket, request, reply_to, deadline_s)
        self.size_bytes += sum(len(key) + len(raw) for key, raw in request.records)
        self.needs_space = bool(request.records)

    def decide(self, group: Group) -> None:
        bucket, window = self.bucket, self.request
        topology = bucket.decided_topology
        if bucket.decided_fault:
            raise InvalidRequest(bucket.decided_fault)
        if topology is None or not topology.moving or topology.epoch != window.epoch:
            self.reply = messages.Moved(self.call, topology)
            return
        marker = bucket.decided_markers.get(window.source)
        if marker is None or marker.epoch != window.epoch or marker.end < window.end:
            for key, raw in window.records:
                group.put(key, raw)
            # No key of the window may ever get a revision here that it had there, not even a deleted one.
            group.revision = max(group.revision, window.revision)
            markers = {**bucket.decided_markers, window.source: Marker(window.epoch, window.end)}
            bucket.decided_markers = markers
            group.set_fact(*facts.markers_fact(markers))
        self.reply = messages.Taken(self.call)


class AcceptLossOperation(InstallOperation):
    """Go on with another storage for a bucket whose data is lost; only an operator asks for it."""

    __slots__ = ()
    request: messages.AcceptLoss  # type: ignore[assignment]

    def decide(self, group: Group) -> None:
        bucket, request = self.bucket, self.request
        topology = bucket.decided_topology
        if bucket.bucket_id != 0 or topology is None:
            raise InvalidRequest("only bucket 0 of a store that was founded accepts a loss")
        if not 0 < request.bucket_id < len(topology.identities):
            raise InvalidRequest(f"the store has no bucket-{request.bucket_id} that could have lost its data")
        if topology.identities[request.bucket_id] == request.identity:
            return  # asked for twice
        events.warning("accepting loss", bucket=request.bucket_id, identity=request.identity)
        self._take(group, topology.accept_loss(request.bucket_id, request.identity))
