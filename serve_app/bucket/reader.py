"""Answering reads: on the loop where memory has the record, else in a reading thread.

Whatever is found is answered only if the bucket is the key's home by what is durable. A reading thread looks at `served` once
for each judgement, after it has read: a key that moved away meanwhile is not answered as missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from serve_app import events
from serve_app.bucket import judgement
from serve_app.bucket.batch_room import Room
from serve_app.bucket.judgement import HOLD, Hold
from serve_app.bucket.standing import Served
from serve_app.errors import StorageDamaged, StorageFault, StorageNewer
from serve_app.operations import ReadOperation
from serve_app.operations.body import Answer
from serve_app.records import expires_ms
from serve_app.storage.engine import Engine, NotInMemory
from serve_app.wire.messages import Envelope, Moved, Refused
from serve_app.wire.refusals import refused


class Expired:
    """The type of `EXPIRED`."""


#: The record's time has come: it is to be deleted, and then read again.
EXPIRED = Expired()
#: Records of a batch that are in memory together, beside the answers: each may be large.
_READ_AT_ONCE = 16
#: Reads of a batch that are looked up on the loop: a thread takes up as much time as so many, and more comes between.
_ON_LOOP = 32
_TOO_LATE = Refused("expired", "the deadline passed before the bucket took it up")


class ReadBucket(Protocol):
    """What of the bucket those need who read its records. All of it may be looked at in any thread."""

    bucket_id: int
    clock: Callable[[], float]
    now_ms: Callable[[], int]

    @property
    def served(self) -> Served: ...

    @property
    def engine(self) -> Engine: ...

    def note_error(self, error: StorageFault) -> None: ...


class Reader:
    """See the module."""

    def __init__(self, bucket: ReadBucket) -> None:
        self._bucket = bucket

    def in_memory(self, envelope: Envelope) -> Answer | Hold | Expired | None:
        """The answer to a read, `HOLD`, `EXPIRED`, or None when the disk has to be asked (`on_disk`). On the loop."""
        served = self._bucket.served
        verdict = self._judge(envelope.body.key, envelope.epoch, served)
        if verdict is not None:
            return verdict
        try:
            raw = self._bucket.engine.get_in_memory(envelope.body.key)
            return None if isinstance(raw, NotInMemory) else self._answer(envelope.body, raw)
        except Exception as error:
            return self._mistaken(error)

    def on_disk(self, envelope: Envelope, arrived_s: float) -> Answer | Hold | Expired:
        """The answer, from the disk if need be, `HOLD` or `EXPIRED`. In a reading thread; never raises."""
        bucket = self._bucket
        if bucket.clock() >= envelope.deadline_s(arrived_s):
            return _TOO_LATE
        before = bucket.served
        try:
            answer = self._answer(envelope.body, bucket.engine.get(envelope.body.key))
        except StorageFault as error:
            bucket.note_error(error)
            return refused(error)
        except Exception as error:
            return self._mistaken(error)
        # Judged within one epoch, in which no key comes back: one that was away and is here again would not show.
        served = bucket.served
        verdict = self._judge(envelope.body.key, envelope.epoch, served)
        if verdict is None and served.standing.topology is not before.standing.topology:
            return self.on_disk(envelope, arrived_s)
        return verdict or answer

    def batch_in_memory(self, envelope: Envelope, arrived_s: float) -> list[Answer] | None:
        """The answers to a few reads, or None where one of them has to wait or memory does not have it. On the loop."""
        served, operations = self._bucket.served, envelope.body.operations
        if len(operations) > _ON_LOOP or served.standing.fault:
            return None
        if self._bucket.clock() >= envelope.deadline_s(arrived_s):
            return None
        standing, engine = served.standing, self._bucket.engine
        keys = [operation.key for operation in operations]
        if any(judgement.judge_all(self._bucket.bucket_id, keys, envelope.epoch, standing.topology, standing.cursor)):
            return None
        answers: list[Answer] = []
        size = 0
        try:
            for operation in operations:
                raw = engine.get_in_memory(operation.key)
                if isinstance(raw, NotInMemory):
                    return None
                answer = self._answer(operation, raw)
                if isinstance(answer, Expired):
                    return None
                answers.append(answer)
                size += 0 if raw is None else len(raw)
        except Exception:
            return None  # as the thread will say
        return answers if size <= Room().size else None

    def batch(self, envelope: Envelope, arrived_s: float) -> list[Answer | Hold | Expired]:
        """As `on_disk` for each operation of a batch of reads, in order, with few calls to the engine."""
        bucket = self._bucket
        operations: list[ReadOperation[Answer]] = envelope.body.operations
        if bucket.clock() >= envelope.deadline_s(arrived_s):
            return [_TOO_LATE] * len(operations)
        before = bucket.served
        answers: list[Answer | Hold | Expired] = []
        room, held = Room(), 0
        for start in range(0, len(operations), _READ_AT_ONCE):
            some, size = self._some_of(envelope, arrived_s, operations[start : start + _READ_AT_ONCE])
            held += size
            if held > room.size:  # which few are: else there is nothing to count
                if held - size <= room.size:
                    answers = list(map(room.fit, answers))
                some = list(map(room.fit, some))
            answers += some
        served = bucket.served
        if served.standing.topology is not before.standing.topology:
            return self.batch(envelope, arrived_s)
        standing = served.standing
        if standing.fault:
            return [Refused("fault", standing.fault)] * len(operations)
        keys = [operation.key for operation in operations]
        verdicts = judgement.judge_all(bucket.bucket_id, keys, envelope.epoch, standing.topology, standing.cursor)
        if not any(verdicts):
            return answers
        return [self._of_a_read(verdict, served) or answer for verdict, answer in zip(verdicts, answers, strict=True)]

    def _some_of(
        self, envelope: Envelope, arrived_s: float, operations: list[ReadOperation[Answer]]
    ) -> tuple[list[Answer | Hold | Expired], int]:
        """The answers to these of a batch, with one call to the engine, and how many bytes of values are in them at most.
        They are not judged yet."""
        answers: list[Answer | Hold | Expired]
        try:
            found = self._bucket.engine.get_many([operation.key for operation in operations])
            answers = [self._answer(each, raw) for each, raw in zip(operations, found, strict=True)]
            return answers, sum(map(len, filter(None, found)))
        except StorageFault:
            # Only those that meet the damage are refused for it.
            answers = [
                self.on_disk(Envelope(envelope.call, envelope.timeout_ms, envelope.epoch, operation), arrived_s)
                for operation in operations
            ]
        except Exception as error:
            answers = [self._mistaken(error)] * len(operations)
        return answers, sum(answer.payload_bytes for answer in answers if isinstance(answer, Answer))

    def in_window(self, operations: Sequence[ReadOperation[Answer]]) -> bool:
        """Whether some of these keys are just being moved. On the loop."""
        cursor = self._bucket.served.standing.cursor
        return cursor is not None and any(cursor.in_window(operation.key) for operation in operations)

    def _judge(self, key: bytes, epoch: int, served: Served) -> Moved | Refused | Hold | None:
        """Why the bucket does not answer a read, or None if it does. It looks at nothing but `served` for that."""
        standing = served.standing
        if standing.fault:
            return Refused("fault", standing.fault)
        return self._of_a_read(
            judgement.judge(self._bucket.bucket_id, key, epoch, standing.topology, standing.cursor), served
        )

    @staticmethod
    def _of_a_read(verdict: Moved | Hold | None, served: Served) -> Moved | Hold | None:
        # Reads of the window go on until its records are about to be deleted.
        return None if verdict is HOLD and not served.holds_reads else verdict

    def _mistaken(self, error: Exception) -> Refused:
        events.error("read failed", exc_info=error, bucket=self._bucket.bucket_id)
        return Refused("fault", "the bucket made a mistake; its log says more")

    def _answer(self, operation: ReadOperation[Answer], raw: bytes | None) -> Answer | Expired:
        if raw is not None and 0 < expires_ms(raw) <= self._bucket.now_ms():
            return EXPIRED
        try:
            return operation.answer(raw)
        except (StorageDamaged, StorageNewer) as error:
            self._bucket.note_error(error)
            return refused(error)
