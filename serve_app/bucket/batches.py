"""A batch: several operations in one message, each judged and answered as if it had come alone.

Reads alone are carried out by a reading thread, with one call to the engine. Where something is written, all of the batch is
decided by the writer, in order, so that what stands later in it sees what stands earlier.
"""

from __future__ import annotations

from serve_app.bucket.batch_room import Room
from serve_app.bucket.judgement import Hold
from serve_app.bucket.operation_write import carry_out
from serve_app.bucket.queued import CalledWrite, Caller
from serve_app.bucket.writer_state import WriterState
from serve_app.errors import DiskFull, StorageFault, StoreError
from serve_app.operations import Operation
from serve_app.operations.body import Answer
from serve_app.storage.group import Group
from serve_app.wire.messages import Batch, BatchAnswered, Envelope
from serve_app.wire.refusals import refused


def only_reads(batch: Batch) -> bool:
    """Whether nothing in it can change anything."""
    return not any(operation.writes for operation in batch.operations)


class BatchWrite(CalledWrite):
    """A batch in which something is written. Held as a whole where one of its keys is just being moved."""

    __slots__ = ("operations",)

    def __init__(
        self, state: WriterState, envelope: Envelope, caller: Caller, deadline_s: float, arrived_s: float
    ) -> None:
        super().__init__(state, envelope, caller, deadline_s, arrived_s)
        self.operations: list[Operation[Answer]] = envelope.body.operations
        self.keys = [operation.key for operation in self.operations]

    def decide(self, group: Group) -> None:
        verdicts = self.state.judge_all(self.keys, self.envelope.epoch)
        self.held = any(isinstance(verdict, Hold) for verdict in verdicts)
        if self.held:
            return
        room = Room()
        answers: list[Answer] = []
        for operation, verdict in zip(self.operations, verdicts, strict=True):
            answer = self._decide_one(group, operation) if verdict is None else verdict
            assert not isinstance(answer, Hold), "then all of it is held"
            answers.append(room.fit(answer))
        self.answer = BatchAnswered(answers)
        group.answer_bytes += self.answer.payload_bytes

    def _decide_one(self, group: Group, operation: Operation[Answer]) -> Answer:
        state = self.state
        try:
            if group.lacks_space and operation.needs_space:
                raise DiskFull("the disk has less than its reserve left")
            return carry_out(operation, group, state)
        except StoreError as error:
            if isinstance(error, StorageFault):
                state.note_error(error)
            return refused(error)
