"""Errors as the answers that carry them to whoever asked, and those answers as errors again: one table for both ends."""

from __future__ import annotations

from serve_app.errors import (
    DiskFull,
    IdempotencyKeyReused,
    InvalidRequest,
    NotADecimal,
    NotANumber,
    NotText,
    NumberOverflow,
    OutcomeUnknown,
    StorageFault,
    StoreError,
    Unavailable,
    ValueTooLarge,
)
from serve_app.wire.messages import Refused

#: What a bucket met, by the reason that stands for it. `unknown`, the exception, says that it may have happened.
_CARRIED: dict[str, type[StoreError]] = {
    "disk-full": DiskFull,
    "fault": StorageFault,
    "invalid": InvalidRequest,
    "unknown": OutcomeUnknown,
    "too-large": ValueTooLarge,
    "not-text": NotText,
    "not-a-decimal": NotADecimal,
    "not-a-number": NotANumber,
    "overflow": NumberOverflow,
    "key-reused": IdempotencyKeyReused,
}
#: What that is to whoever asked, where it is another error: the bucket's storage is not theirs to mend.
_MET_BY_THE_CALLER = {"fault": Unavailable}


def refused(error: StoreError) -> Refused:
    """An error as the answer that carries it; `busy`, which any other is, is worth a retry."""
    for reason, kind in _CARRIED.items():
        if isinstance(error, kind):
            return Refused(reason, str(error))
    return Refused("busy", str(error))


def error_of(bucket_id: int, answer: Refused) -> StoreError:
    """The error that a bucket's refusal stands for."""
    kind = _MET_BY_THE_CALLER.get(answer.reason) or _CARRIED.get(answer.reason, Unavailable)
    return kind(f"bucket-{bucket_id}: {answer.detail}")
