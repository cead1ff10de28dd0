"""A client's write in the bucket's queue, whichever operation it is: judged by the key's home, then decided."""

from __future__ import annotations

from serve_app.bucket.judgement import Hold
from serve_app.bucket.live_records import LiveRecords
from serve_app.bucket.queued import CalledWrite, Caller
from serve_app.bucket.writer_state import WriterState
from serve_app.operations import Operation, ReadOperation, WriteOperation
from serve_app.operations.body import Answer
from serve_app.storage.group import Group
from serve_app.wire.messages import Envelope


class OperationWrite(CalledWrite):
    """Carried out only where its key is at home."""

    __slots__ = ("operation",)

    def __init__(
        self, state: WriterState, envelope: Envelope, caller: Caller, deadline_s: float, arrived_s: float
    ) -> None:
        super().__init__(state, envelope, caller, deadline_s, arrived_s)
        self.operation: WriteOperation[Answer] = envelope.body
        self.keys = (self.operation.key,)
        self.size_bytes += len(self.operation.key)

    def decide(self, group: Group) -> None:
        verdict = self.state.judge(self.operation.key, self.envelope.epoch)
        self.held = isinstance(verdict, Hold)
        if verdict is None:
            self.decide_at_home(group)
        elif not isinstance(verdict, Hold):
            self.answer = verdict

    def decide_at_home(self, group: Group) -> None:
        """Whatever the operation does."""
        self.answer = carry_out(self.operation, group, self.state)
        group.answer_bytes += self.answer.payload_bytes


def carry_out(operation: Operation[Answer], group: Group, state: WriterState) -> Answer:
    """The answer of an operation whose key is at home, in its group. Raises StoreError; nothing is changed then."""
    state.note_write(operation.key)
    records = LiveRecords(group, state.now_ms())
    if isinstance(operation, ReadOperation):
        return operation.answer(records.get(operation.key))
    assert isinstance(operation, WriteOperation), "there is no third kind"
    if operation.idempotency_key:
        return records.decide_once(operation, state.max_outcomes)
    return operation.decide(records)
