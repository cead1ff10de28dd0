"""Errors as the replies that carry them to the directory, which turns them into errors again."""

from __future__ import annotations

from serve_app.errors import DiskFull, InvalidRequest, StorageFault, StoreError
from serve_app.wire import messages


def refused(call: int, error: StoreError) -> messages.Refused:
    """An error as the reply that carries it."""
    if isinstance(error, DiskFull):
        reason = "disk-full"
    elif isinstance(error, StorageFault):
        reason = "fault"
    elif isinstance(error, InvalidRequest):
        reason = "invalid"
    else:
        reason = "busy"
    return messages.Refused(call, reason, str(error))
