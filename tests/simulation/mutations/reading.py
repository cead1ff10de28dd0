"""Bugs in how reads that have to wait for the disk are judged, while keys move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from serve_app.bucket import judgement
from serve_app.bucket.calls import Calls
from serve_app.bucket.cold_reads import Outcome
from serve_app.bucket.judgement import Hold
from serve_app.bucket.reader import Expired, Reader
from serve_app.bucket.standing import Served
from serve_app.errors import StorageFault
from serve_app.operations.body import Answer
from serve_app.wire.messages import Envelope, Moved, Refused
from serve_app.wire.refusals import refused
from tests.simulation.mutations import HELD, HISTORY, Mutation


@contextmanager
def a_read_from_the_disk_is_not_judged_again() -> Iterator[None]:
    """A read that waited for the disk is answered with what it found, though the key may have moved meanwhile."""

    def reading(self: Reader, envelope: Envelope, arrived_s: float) -> Answer | Hold | Expired:
        try:
            return self._answer(envelope.body, self._bucket.engine.get(envelope.body.key))
        except StorageFault as error:
            return refused(error)

    with patch.object(Reader, "on_disk", reading):
        yield


@contextmanager
def a_late_verdict_is_kept_held() -> Iterator[None]:
    """A read that was judged to wait does so when the loop hears of that, whether the window is still open or not."""

    def done(self: Calls, outcomes: list[Outcome]) -> None:
        for (envelope, arrived_s), outcome in outcomes:
            if isinstance(outcome, Hold):
                self._hold_read(envelope, arrived_s)
            elif isinstance(outcome, Expired):
                self._read_once_deleted(envelope, arrived_s)
            else:
                self._reply(envelope, outcome, arrived_s)
        self.flush()

    with patch.object(Calls, "reads_done", done):
        yield


@contextmanager
def a_read_is_judged_in_another_epoch() -> Iterator[None]:
    """A key that was away when it was read, and is here again when that is judged, is answered as missing."""

    def reading(self: Reader, envelope: Envelope, arrived_s: float) -> Answer | Hold | Expired:
        try:
            answer = self._answer(envelope.body, self._bucket.engine.get(envelope.body.key))
        except StorageFault as error:
            return refused(error)
        return self._judge(envelope.body.key, envelope.epoch, self._bucket.served) or answer

    with patch.object(Reader, "on_disk", reading):
        yield


@contextmanager
def a_reading_thread_looks_twice() -> Iterator[None]:
    """Whether reads are held is looked at again when the verdict is known: the window may be over by then (found so by
    reading the code: a record that the advance had deleted was answered as missing)."""

    def judging(self: Reader, key: bytes, epoch: int, served: Served) -> Moved | Refused | Hold | None:
        standing = served.standing
        verdict = judgement.judge(self._bucket.bucket_id, key, epoch, standing.topology, standing.cursor)
        if standing.fault:
            return Refused("fault", standing.fault)
        return None if isinstance(verdict, Hold) and not self._bucket.served.holds_reads else verdict

    with patch.object(Reader, "_judge", judging):
        yield


MUTATIONS = [
    Mutation("a read from the disk is not judged again", 45, HISTORY, a_read_from_the_disk_is_not_judged_again),
    Mutation("a late verdict is kept held", 110, HELD, a_late_verdict_is_kept_held),
    Mutation("a read is judged in another epoch", 180, HISTORY, a_read_is_judged_in_another_epoch),
    Mutation("a reading thread looks twice", 80, HISTORY, a_reading_thread_looks_twice),
]
