"""The store's errors as the client's: the same that HTTP would bring."""

from __future__ import annotations

from cloud_storage import errors as told
from serve_app import errors

#: The first class that fits.
_TOLD: tuple[tuple[type[errors.StoreError], type[told.StoreError]], ...] = (
    (errors.Unavailable, told.Unavailable),
    (errors.OutcomeUnknown, told.OutcomeUnknown),
    (errors.DiskFull, told.DiskFull),
    (errors.ValueTooLarge, told.ValueTooLarge),
    (errors.NotANumber, told.NotANumber),
    (errors.NumberOverflow, told.NotANumber),
    (errors.HistoryLost, told.HistoryLost),
    (errors.UploadTimeout, told.Unavailable),
    (errors.StorageFault, told.Unavailable),
    (errors.InvalidRequest, told.InvalidRequest),
)
_SHOWN_CHARACTERS = 100


def told_as(error: errors.StoreError) -> told.StoreError:
    """The client's error."""
    for kind, wanted in _TOLD:
        if isinstance(error, kind):
            return wanted(str(error))
    return told.InvalidRequest(str(error))


def condition_failed(key: str, revision: int) -> told.ConditionFailed:
    """revision: of the record there is; 0 where there is none."""
    there = f"it has revision {revision}" if revision else "no record has it"
    shown = key if len(key) <= _SHOWN_CHARACTERS else key[:_SHOWN_CHARACTERS] + "…"
    return told.ConditionFailed(f"the key {shown!r} does not meet the condition: {there}", revision)
