"""Errors as the answers that carry them to the directory, which turns them into errors again."""

from __future__ import annotations

from serve_app.errors import DiskFull, InvalidRequest, StorageFault, StoreError
from serve_app.wire.messages import Refused


def refused(error: StoreError) -> Refused:
    """An error as the answer that carries it."""
    if isinstance(error, DiskFull):
        reason = "disk-full"
    elif isinstance(error, StorageFault):
        reason = "fault"
    elif isinstance(error, InvalidRequest):
        reason = "invalid"
    else:
        reason = "busy"
    return Refused(reason, str(error))
