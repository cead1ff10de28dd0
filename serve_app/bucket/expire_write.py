"""What the writer does about records and outcomes whose time has come: it deletes them, as ordinary writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from serve_app import outcomes
from serve_app.bucket.live_records import LiveRecords
from serve_app.bucket.queued import OwnWrite
from serve_app.bucket.writer_state import WriterState
from serve_app.errors import StorageFault
from serve_app.storage import due
from serve_app.storage.due import Due
from serve_app.storage.group import Group


class ExpireWrite(OwnWrite):
    """Delete what is due of these, but for what is just being moved: that is its new home's to delete. One that can't be read
    keeps none of the others; it fails then."""

    __slots__ = ("dues",)

    def __init__(self, state: WriterState, done: asyncio.Future[None], dues: Sequence[Due]) -> None:
        super().__init__(state, done)
        self.dues = dues
        self.keys = [each.name for each in dues if each.kind == due.RECORD]

    def decide(self, group: Group) -> None:
        standing = self.state.standing
        if standing.fault or standing.topology is None:
            return
        records = LiveRecords(group, self.state.now_ms())
        damage: StorageFault | None = None
        for each in self.dues:
            key = each.name if each.kind == due.RECORD else outcomes.key_in(each.name)
            if standing.cursor is not None and standing.cursor.in_window(key):
                continue
            self.state.note_write(key)
            try:
                if each.kind == due.RECORD:
                    records.get(key)  # which deletes it
                elif (outcome := group.outcome(each.name)) is not None and outcome.due_ms <= records.now_ms:
                    group.drop_outcome(each.name, outcome)
            except StorageFault as fault:
                damage = fault  # which keeps none of the others
        if damage is not None:
            raise damage
