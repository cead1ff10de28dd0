"""Bugs in how reads that have to wait for the disk are judged, while keys move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from serve_app.bucket import judgement
from serve_app.bucket.bucket import Bucket, Served
from serve_app.bucket.connection import BucketConnection, ColdRead, ReadReply
from serve_app.bucket.judgement import Hold
from serve_app.bucket.refusals import refused
from serve_app.errors import StorageFault
from serve_app.wire import messages
from tests.simulation.mutations import HELD, HISTORY, Mutation


@contextmanager
def a_read_from_the_disk_is_not_judged_again() -> Iterator[None]:
    """A read that waited for the disk is answered with what it found, though the key may have moved meanwhile."""

    def reading(self: Bucket, request: messages.Get, arrived_s: float) -> messages.Reply:
        try:
            return self._value(request.call, self._engine.get(request.key))
        except StorageFault as error:
            return refused(request.call, error)

    with patch.object(Bucket, "read", reading):
        yield


@contextmanager
def a_late_verdict_is_kept_held() -> Iterator[None]:
    """A read that was judged to wait does so when the loop hears of that, whether the window is still open or not."""

    def done(self: BucketConnection, replies: list[ReadReply], left: list[ColdRead]) -> None:
        self._batches -= 1
        if not self._closing:
            self._cold.extendleft(reversed(left))
        for request, reply, arrived_s in replies:
            if isinstance(reply, Hold):
                self._hold_read(request, arrived_s)
            else:
                self.reply(reply, "get", arrived_s)
        self.flush()
        self._start_reads()

    with patch.object(BucketConnection, "_reads_done", done):
        yield


@contextmanager
def a_read_is_judged_in_another_epoch() -> Iterator[None]:
    """A key that was away when it was read, and is here again when that is judged, is answered as missing."""

    def reading(self: Bucket, request: messages.Get, arrived_s: float) -> messages.Reply | Hold:
        try:
            reply = self._value(request.call, self._engine.get(request.key))
        except StorageFault as error:
            return refused(request.call, error)
        return self._judge_read(request, self._served) or reply

    with patch.object(Bucket, "read", reading):
        yield


@contextmanager
def a_reading_thread_looks_twice() -> Iterator[None]:
    """Whether reads are held is looked at again when the verdict is known: the window may be over by then (found so by
    reading the code: a record that the advance had deleted was answered as missing)."""

    def judging(self: Bucket, request: messages.Get, served: Served) -> messages.Reply | Hold | None:
        verdict = judgement.judge(
            self.bucket_id, request.call, request.key, request.epoch, served.topology, served.cursor
        )
        if served.fault:
            return messages.Refused(request.call, "fault", served.fault)
        return None if isinstance(verdict, Hold) and not self._served.holds_reads else verdict

    with patch.object(Bucket, "_judge_read", judging):
        yield


MUTATIONS = [
    Mutation("a read from the disk is not judged again", 45, HISTORY, a_read_from_the_disk_is_not_judged_again),
    Mutation("a late verdict is kept held", 110, HELD, a_late_verdict_is_kept_held),
    Mutation("a read is judged in another epoch", 180, HISTORY, a_read_is_judged_in_another_epoch),
    Mutation("a reading thread looks twice", 400, HISTORY, a_reading_thread_looks_twice),
]
