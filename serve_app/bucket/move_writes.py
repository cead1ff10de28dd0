"""What the writer decides for a move: the source's steps, and a window that comes to its target."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from serve_app import outcomes
from serve_app.authority.proposing_bucket import Overtaken
from serve_app.bucket.queued import CalledWrite, Caller, OwnWrite
from serve_app.bucket.writer_state import WriterState
from serve_app.changes import tag_of
from serve_app.cursor import Cursor, Marker
from serve_app.errors import InvalidRequest
from serve_app.resharding.moving_bucket import RawRecords
from serve_app.storage.group import Group
from serve_app.topology import expected_identity
from serve_app.wire.messages import Envelope, Moved, Window, WindowWritten


class NoteWritesWrite(OwnWrite):
    """From here on, note writes to keys from `start` on: the mover is about to read them. Changes nothing."""

    __slots__ = ("start",)

    def __init__(self, state: WriterState, done: asyncio.Future[None], start: bytes) -> None:
        super().__init__(state, done)
        self.start = start

    def decide(self, group: Group) -> None:
        self.state.note_writes_from(self.start)


class CursorWrite(OwnWrite):
    """A step that moves the cursor: made for the cursor `before`, in that one's epoch."""

    __slots__ = ("before", "cursor")

    def __init__(self, state: WriterState, done: asyncio.Future[Any], before: Cursor, cursor: Cursor) -> None:
        super().__init__(state, done)
        self.before, self.cursor = before, cursor

    def _expect_before(self) -> None:
        if self.state.standing.cursor != self.before:
            raise Overtaken("the cursor is another one by now")


class IntentWrite(CursorWrite):
    """Make the intent to move [cursor, end) durable; writes that are decided after it are held. The result: whether something
    was written since `NoteWritesWrite`."""

    __slots__ = ()

    def decide(self, group: Group) -> None:
        self._expect_before()
        self.result = self.state.end_noting()
        self.state.move_cursor(group, self.cursor)


class AdvanceWrite(CursorWrite):
    """Delete the window's records and outcomes and advance the cursor, in one batch: every target has acknowledged them."""

    __slots__ = ("outcomes", "records")

    def __init__(
        self,
        state: WriterState,
        done: asyncio.Future[None],
        before: Cursor,
        cursor: Cursor,
        records: RawRecords,
        kept: RawRecords,
    ) -> None:
        """kept: the outcomes, by the names of their facts."""
        super().__init__(state, done, before, cursor)
        self.records = records
        self.outcomes = [(name, outcomes.decode(raw)) for name, raw in kept]

    def decide(self, group: Group) -> None:
        self._expect_before()
        for key, raw in self.records:
            group.drop(key, raw)  # reading one might fail, with the others before it deleted and the cursor left
        for name, outcome in self.outcomes:
            group.drop_outcome(name, outcome)
        self.state.move_cursor(group, self.cursor)


class WindowWrite(CalledWrite):
    """A window of another bucket's keys: its records and the marker, in one batch."""

    __slots__ = ()

    def __init__(
        self, state: WriterState, envelope: Envelope, caller: Caller, deadline_s: float, arrived_s: float
    ) -> None:
        super().__init__(state, envelope, caller, deadline_s, arrived_s)
        self.needs_space = bool(envelope.body.records or envelope.body.outcomes)

    def decide(self, group: Group) -> None:
        window: Window = self.envelope.body
        state, epoch = self.state, self.envelope.epoch
        standing = state.standing
        topology, marker = standing.topology, standing.markers.get(window.source)
        if standing.fault:
            raise InvalidRequest(standing.fault)
        if topology is None or not topology.moving or topology.epoch != epoch:
            self.answer = Moved(topology)
            return
        if marker is None or marker.epoch != epoch or marker.end < window.end:
            # By the clock here, which may be ahead of the source's by more than outcomes are kept.
            due_ms = state.now_ms() + outcomes.OUTCOMES_KEPT_MS
            kept = {name: msgspec.structs.replace(outcomes.decode(raw), due_ms=due_ms) for name, raw in window.outcomes}
            new = [name for name in kept if group.outcome(name) is None]
            group.put_all(dict(window.records))
            for name in new:
                group.keep_outcome(name, kept[name])
            # No key of the window may ever get a revision here that it had there, not even a deleted one.
            group.revision = max(group.revision, window.revision)
            group.tell_taken(window.source, tag_of(expected_identity(topology, window.source)), window.revision)
            state.mark(group, {**standing.markers, window.source: Marker(epoch, window.end)})
        self.answer = WindowWritten()
