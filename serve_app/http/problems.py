"""Errors as RFC 9457 `application/problem+json`.

`type` is a stable URN to switch on, `title` and `status` go with it, and `detail` says what was wrong this time. 503 carries
`Retry-After`: the operation was refused and changed nothing. 504 does not: the write may have happened. 401 and 403 carry
`WWW-Authenticate` (RFC 6750).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from pydantic import BaseModel, Field

from serve_app import errors

CONTENT_TYPE = b"application/problem+json"
Headers = list[tuple[bytes, bytes]]


class Problem(BaseModel):
    """The body of every answer that is not a success (RFC 9457)."""

    type: str = Field(examples=["urn:cloud-storage:key-not-found"])
    title: str = Field(examples=["No such key"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no record has the key 'greeting'"])


#: error class -> (status, last part of the type URN, title). Subclasses are listed before their bases.
_PROBLEMS: tuple[tuple[type[errors.StoreError], int, str, str], ...] = (
    (errors.Unauthorized, 401, "unauthorized", "A token is needed"),
    (errors.Forbidden, 403, "forbidden", "The token does not allow it"),
    (errors.KeyNotFound, 404, "key-not-found", "No such key"),
    (errors.PartialPut, 400, "partial-put", "Values are stored whole"),
    (errors.UnsupportedEncoding, 415, "unsupported-encoding", "The body's encoding or type is not taken"),
    (errors.NotText, 409, "not-text", "The value is not text"),
    (errors.NotANumber, 409, "not-a-number", "The value is not a number; nothing changed"),
    (errors.NumberOverflow, 409, "overflow", "The number would be too large; nothing changed"),
    (errors.HistoryLost, 410, "history-lost", "Those changes are not known any more"),
    (errors.ConditionFailed, 412, "condition-failed", "The condition is not met; nothing changed"),
    (errors.IdempotencyKeyReused, 422, "idempotency-key-reused", "The idempotency key names another request"),
    (errors.UploadTimeout, 408, "upload-timeout", "The request body stopped arriving"),
    (errors.ValueTooLarge, 413, "value-too-large", "Value too large"),
    (errors.RangeNotSatisfiable, 416, "range-not-satisfiable", "No byte of the value is in the range"),
    (errors.InvalidRequest, 422, "invalid-request", "Bad key or parameter"),
    (errors.Unavailable, 503, "unavailable", "Refused for now; nothing changed"),
    (errors.OutcomeUnknown, 504, "outcome-unknown", "The write's outcome is not known"),
    (errors.DiskFull, 507, "disk-full", "The bucket's disk is full; nothing changed"),
    (errors.StoreError, 503, "unavailable", "Refused for now; nothing changed"),
)


#: What a client is asked for (RFC 6750, 3), and what was wrong with what it showed.
_CHALLENGE = b'Bearer realm="cloud-storage"'


def problem(status: int, kind: str, title: str, detail: str) -> bytes:
    """The JSON body of a problem."""
    return msgspec.json.encode(
        {"type": f"urn:cloud-storage:{kind}", "title": title, "status": status, "detail": detail}
    )


def described(error: errors.StoreError) -> dict[str, Any]:
    """An error as an item of a batch is answered with it: the problem, and what would be in headers."""
    status, kind, title = _entry(error)
    told = {"type": f"urn:cloud-storage:{kind}", "title": title, "status": status, "detail": str(error)}
    if isinstance(error, errors.Unavailable):
        told["retry_after"] = error.retry_after_s
    if isinstance(error, errors.ConditionFailed) and error.revision:
        told["revision"] = error.revision
    return told


def _entry(error: errors.StoreError) -> tuple[int, str, str]:
    return next(entry[1:] for entry in _PROBLEMS if isinstance(error, entry[0]))


def answer_to(error: errors.StoreError) -> tuple[int, bytes, Headers]:
    """(status, body, further headers) for an error of the store.

    An error never closes the connection, also where a body is still arriving: closing with unread bytes resets the
    connection, by which clients lost the answer. The server reads the rest and drops it.
    """
    status, kind, title = _entry(error)
    headers: Headers = []
    if isinstance(error, errors.Unavailable):
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    if isinstance(error, errors.ConditionFailed) and error.revision:
        headers.append((b"etag", b'"%d"' % error.revision))
    if isinstance(error, errors.RangeNotSatisfiable):
        headers.append((b"content-range", b"bytes */%d" % error.size))
    if isinstance(error, errors.Unauthorized):
        more = b', error="invalid_token"' if error.invalid_token else b""
        headers.append((b"www-authenticate", _CHALLENGE + more))
    elif isinstance(error, errors.Forbidden):
        headers.append((b"www-authenticate", _CHALLENGE + b', error="insufficient_scope"'))
    return status, problem(status, kind, title, str(error)), headers


def answer_to_status(status: int, detail: str) -> bytes:
    """The body for a status that HTTP itself explains: an unknown route, a wrong method."""
    phrase = HTTPStatus(status).phrase
    return problem(status, phrase.lower().replace(" ", "-"), phrase, detail)
