"""Answering reads: on the loop where memory has the record, else in a reading thread.

Whatever is found is answered only if the bucket is the key's home by what is durable. A reading thread looks at `served` once
for each judgement, after it has read: a key that moved away meanwhile is not answered as missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from serve_app import events
from serve_app.bucket import judgement
from serve_app.bucket.judgement import Hold
from serve_app.bucket.standing import Served
from serve_app.errors import StorageDamaged, StorageFault, StorageNewer
from serve_app.operations import ReadOperation
from serve_app.operations.body import Answer
from serve_app.storage.engine import Engine, NotInMemory
from serve_app.wire.messages import Envelope, Moved, Refused
from serve_app.wire.refusals import refused


class ReadBucket(Protocol):
    """What of the bucket those need who read its records. All of it may be looked at in any thread."""

    bucket_id: int
    clock: Callable[[], float]

    @property
    def served(self) -> Served: ...

    @property
    def engine(self) -> Engine: ...

    def note_error(self, error: StorageFault) -> None: ...


class Reader:
    """See the module."""

    def __init__(self, bucket: ReadBucket) -> None:
        self._bucket = bucket

    def in_memory(self, envelope: Envelope) -> Answer | Hold | None:
        """The answer to a read, `HOLD`, or None when the disk has to be asked (`on_disk`). On the loop."""
        verdict = self._judge(envelope, self._bucket.served)
        if verdict is not None:
            return verdict
        try:
            raw = self._bucket.engine.get_in_memory(envelope.body.key)
            return None if isinstance(raw, NotInMemory) else self._answer(envelope.body, raw)
        except Exception as error:
            return self._mistaken(error)

    def on_disk(self, envelope: Envelope, arrived_s: float) -> Answer | Hold:
        """The answer, from the disk if need be, or `HOLD`. In a reading thread; never raises."""
        bucket = self._bucket
        if bucket.clock() >= arrived_s + envelope.timeout_ms / 1000:
            return Refused("expired", "the deadline passed before the bucket took it up")
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
        verdict = self._judge(envelope, served)
        if verdict is None and served.standing.topology is not before.standing.topology:
            return self.on_disk(envelope, arrived_s)
        return verdict or answer

    def _judge(self, envelope: Envelope, served: Served) -> Moved | Refused | Hold | None:
        """Why the bucket does not answer a read, or None if it does. It looks at nothing but `served` for that."""
        standing = served.standing
        if standing.fault:
            return Refused("fault", standing.fault)
        verdict = judgement.judge(
            self._bucket.bucket_id, envelope.body.key, envelope.epoch, standing.topology, standing.cursor
        )
        # Reads of the window go on until its records are about to be deleted.
        return None if isinstance(verdict, Hold) and not served.holds_reads else verdict

    def _mistaken(self, error: Exception) -> Refused:
        events.error("read failed", exc_info=error, bucket=self._bucket.bucket_id)
        return Refused("fault", "the bucket made a mistake; its log says more")

    def _answer(self, operation: ReadOperation[Answer], raw: bytes | None) -> Answer:
        try:
            return operation.answer(raw)
        except (StorageDamaged, StorageNewer) as error:
            self._bucket.note_error(error)
            return refused(error)
