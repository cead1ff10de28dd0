"""The store's errors as the client's: the same that HTTP would bring."""

from __future__ import annotations

from cloud_storage import errors as told
from serve_app import errors
from serve_app.http.v1 import kv

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


def told_as(error: errors.StoreError) -> told.StoreError:
    """The client's error."""
    for kind, wanted in _TOLD:
        if isinstance(error, kind):
            return wanted(str(error))
    return told.InvalidRequest(str(error))


def condition_failed(key: str, revision: int) -> told.ConditionFailed:
    """revision: of the record there is; 0 where there is none."""
    return told.ConditionFailed(str(kv.condition_failed(key.encode(), revision)), revision)
