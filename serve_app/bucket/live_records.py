"""A bucket's records as one write sees them, in its group and at its time: `operations.operation.Records`.

A record whose time has come is deleted by whoever looks at it, in the same batch. So what was once answered as missing has
gone from the disk: no clock that steps back, no restart and no move shows it again.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Union

import msgspec

from serve_app.changes import DELETE, EXPIRE, PUT
from serve_app.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    NotANumber,
    NotText,
    NumberOverflow,
    StorageDamaged,
    Unavailable,
    ValueTooLarge,
)
from serve_app.operations import ANSWERS, WriteOperation
from serve_app.operations.body import Answer
from serve_app.outcomes import OUTCOMES_KEPT_MS, Outcome, name_of
from serve_app.records import expires_ms
from serve_app.storage.group import Group
from serve_app.wire.messages import Refused
from serve_app.wire.refusals import refused

_DIGEST_BYTES = 16
#: What an operation may be refused for that is carried out: by what the record holds.
_BY_WHAT_THERE_IS = (InvalidRequest, NotANumber, NotText, NumberOverflow, ValueTooLarge)
_decode_answer: Any = msgspec.msgpack.Decoder(Union[(*ANSWERS, Refused)]).decode
_encode = msgspec.msgpack.Encoder().encode


class LiveRecords:
    """See the module."""

    __slots__ = ("_group", "now_ms")

    def __init__(self, group: Group, now_ms: int) -> None:
        """now_ms: milliseconds since the Unix epoch."""
        self._group = group
        self.now_ms = now_ms

    def get(self, key: bytes) -> bytes | None:
        raw = self._group.get(key)
        if raw is not None and 0 < expires_ms(raw) <= self.now_ms:
            self._group.delete(key)
            self._group.tell(EXPIRE, key, self._group.next_revision())
            return None
        return raw

    def put(self, key: bytes, raw: bytes, revision: int) -> None:
        self._group.put(key, raw)
        self._group.tell(PUT, key, revision)

    def delete(self, key: bytes, revision: int) -> None:
        self._group.delete(key)
        self._group.tell(DELETE, key, revision)

    def next_revision(self) -> int:
        return self._group.next_revision()

    def decide_once(self, operation: WriteOperation[Any], max_outcomes: int) -> Answer:
        """The answer to a request that may come again: of the first, where this is not it.

        Raises:
            IdempotencyKeyReused: the first asked for something else.
            Unavailable: there are as many outcomes as may be kept.
            StorageFault: as the operation. It has changed nothing.
        """
        group = self._group
        name = name_of(operation.key, operation.idempotency_key)
        request = blake2b(_encode(operation), digest_size=_DIGEST_BYTES).digest()
        known = group.outcome(name)
        if known is not None:
            if known.request != request:
                raise IdempotencyKeyReused("the idempotency key was given to another request on this key before")
            return _answer_in(known)
        if group.outcomes >= max_outcomes:
            raise Unavailable("the bucket keeps as many outcomes of requests with idempotency keys as it may")
        answer: Answer
        try:
            answer = operation.decide(self)
        except _BY_WHAT_THERE_IS as error:
            answer = refused(error)
        # Also of what changed nothing: the first may be late, and come after one that was sent again.
        due_ms = self.now_ms + (operation.remember_ms or OUTCOMES_KEPT_MS)
        group.keep_outcome(name, Outcome(due_ms, request, _encode(answer)))
        return answer


def _answer_in(outcome: Outcome) -> Answer:
    try:
        answer: Answer = _decode_answer(outcome.answer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StorageDamaged(f"the answer in a stored outcome can't be read: {error}") from error
    return answer
