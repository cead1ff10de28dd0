"""What a response means: whether it is the store's own, and which error it is.

Only what the store itself says is an answer. A proxy's error page, whatever its status, says nothing of the record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cloud_storage import errors
from cloud_storage.exchange import Response

_PROBLEM = "application/problem+json"
_URN = "urn:cloud-storage:"
#: By the last part of a problem's type.
_ERRORS: dict[str, type[errors.StoreError]] = {
    "unauthorized": errors.Unauthorized,
    "forbidden": errors.Forbidden,
    "not-a-number": errors.NotANumber,
    "overflow": errors.NotANumber,
    "history-lost": errors.HistoryLost,
    "condition-failed": errors.ConditionFailed,
    "value-too-large": errors.ValueTooLarge,
    "disk-full": errors.DiskFull,
    "unavailable": errors.Unavailable,
    "outcome-unknown": errors.OutcomeUnknown,
    "upload-timeout": errors.Unavailable,
}
#: What is tried again, and what of that may have happened.
AGAIN, UNKNOWN = frozenset({"unavailable", "upload-timeout", "outcome-unknown"}), "outcome-unknown"
#: What the store puts into each answer, and nothing else does.
OWN_HEADER = "cloud-storage"
KEY_NOT_FOUND = "key-not-found"


def problem_of(response: Response) -> dict[str, Any] | None:
    """The problem document of the store, if that is what it is."""
    if response.headers.get("content-type", "").partition(";")[0] != _PROBLEM:
        return None
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    own = isinstance(document, dict) and str(document.get("type", "")).startswith(_URN)
    return document if own else None


def kind_of(problem: Mapping[str, Any]) -> str:
    """The last part of its type."""
    return str(problem["type"]).removeprefix(_URN)


def is_own(response: Response) -> bool:
    """Whether a response without a problem is one that the store has made."""
    return (200 <= response.status < 300 or response.status == 304) and OWN_HEADER in response.headers


def error_of(problem: Mapping[str, Any], revision: int = 0) -> errors.StoreError:
    """The error that a problem is. revision: of the record there is, where a header says it."""
    kind, detail = kind_of(problem), str(problem.get("detail") or problem.get("title") or "")
    error = _ERRORS.get(kind, errors.InvalidRequest)
    if error is errors.ConditionFailed:
        return errors.ConditionFailed(detail, revision or int(problem.get("revision", 0)))
    return error(detail)


def revision_of(headers: Mapping[str, str]) -> int:
    """Of an ETag; 0 where there is none."""
    tag = headers.get("etag", "").strip('"')
    return int(tag) if tag.isdigit() else 0
