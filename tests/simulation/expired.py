"""No bucket answers with a record whose time had come, by its own clock, when the call arrived: looked at where the product
replies, by the machine's clock and not by what the product makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from serve_app.bucket.calls import Calls
from serve_app.operations import Described, NotMet, Value
from serve_app.operations.body import Answer
from serve_app.wire.messages import Batch, BatchAnswered, Envelope, Listed
from tests.simulation.clocks import WallClock


@contextmanager
def expired_is_not_shown(fail: Callable[[str, str], None]) -> Iterator[None]:
    """While this lasts. fail: gets the kind of the failure and a sentence."""
    reply = Calls._reply

    def replying(self: Calls, envelope: Envelope, answer: Answer, arrived_s: float) -> None:
        clock: WallClock = self._bucket.now_ms.__self__  # type: ignore[attr-defined]
        lowest_ms = None
        for key, expires_ms in _told(envelope, answer):
            lowest_ms = clock.lowest_since_ms(arrived_s) if lowest_ms is None else lowest_ms
            if 0 < expires_ms <= lowest_ms:
                late_ms = lowest_ms - expires_ms
                fail("expired", f"bucket-{self._bucket.bucket_id} tells of {key!r} {late_ms} ms after it has expired")
        reply(self, envelope, answer, arrived_s)

    with patch.object(Calls, "_reply", replying):
        yield


def _told(envelope: Envelope, answer: Answer) -> Iterator[tuple[bytes, int]]:
    """The keys of records that an answer tells of, and when they expire."""
    if isinstance(answer, Listed):
        yield from ((entry.key, entry.expires_ms) for entry in answer.entries if entry.expires_ms)
    elif isinstance(answer, BatchAnswered):
        assert isinstance(envelope.body, Batch)
        for operation, some in zip(envelope.body.operations, answer.answers, strict=True):
            yield from _told_of(operation, some)
    else:
        yield from _told_of(envelope.body, answer)


def _told_of(operation: Any, answer: Any) -> Iterator[tuple[bytes, int]]:
    # What is told once more was true when it was told first.
    again = getattr(operation, "idempotency_key", b"")
    if isinstance(answer, Value | Described | NotMet) and answer.expires_ms and not again:
        yield operation.key, answer.expires_ms
