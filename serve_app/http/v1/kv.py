"""`/v1/kv`: a key's value as raw bytes, with its metadata in headers (RFC 9110)."""

from __future__ import annotations

import re
from typing import Any

from serve_app.directory.directory import Directory
from serve_app.errors import ConditionFailed, InvalidRequest, KeyNotFound, PartialPut, UnsupportedEncoding
from serve_app.http import requests
from serve_app.http.answer import HttpAnswer
from serve_app.http.conditions import etag, http_date
from serve_app.http.problems import Headers
from serve_app.http.ranges import content_range, range_of
from serve_app.http.requests import Scope
from serve_app.http.uploads import Receive, Uploads
from serve_app.http.v1.target import EXPIRY, condition_of, expiry_of, idempotency_key, key_and_parameters, shown_moment
from serve_app.operations import Delete, Described, Get, Head, Missing, NotMet, Put, Value

PATH = b"/v1/kv"
DEFAULT_CONTENT_TYPE = "application/octet-stream"
#: Whatever a value is said to be, a browser that opens it is to run nothing of it in the store's name.
SANDBOX = (b"content-security-policy", b"sandbox")
_RANGES = (b"accept-ranges", b"bytes")
_TYPE = re.compile(rb"[\x20-\x7e]*")


class Values:
    """The handlers, on one directory."""

    def __init__(self, directory: Directory, uploads: Uploads) -> None:
        self._directory = directory
        self._uploads = uploads

    async def get(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`GET /v1/kv/{key}`: the value, or the range of it that is asked for."""
        key, _ = key_and_parameters(scope, PATH, "read")
        found, bucket_id, digest = await self._directory.carry_out(Get(key, condition=condition_of(scope)))
        if isinstance(found, Value):
            headers = _described(found, bucket_id, digest)
            body, size = found.value, len(found.value)
            part = range_of(scope, size, etag(found.revision), found.modified_ms // 1000)
            content_type = (found.content_type or DEFAULT_CONTENT_TYPE).encode()
            if part is None:
                return HttpAnswer(200, body, content_type, headers, repeatable=True)
            start, end = part
            headers.append((b"content-range", content_range(start, end, size)))
            return HttpAnswer(206, body[start:end], content_type, headers, repeatable=True)
        return _without_value(key, found, bucket_id, digest)

    async def head(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`HEAD /v1/kv/{key}`: what a GET would say of the value."""
        key, _ = key_and_parameters(scope, PATH, "read")
        operation = Head(key, as_json=False, condition=condition_of(scope))
        found, bucket_id, digest = await self._directory.carry_out(operation)
        if isinstance(found, Described):
            headers = _described(found, bucket_id, digest)
            content_type = (found.content_type or DEFAULT_CONTENT_TYPE).encode()
            return HttpAnswer(200, b"", content_type, headers, length=found.size)
        return _without_value(key, found, bucket_id, digest)

    async def put(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`PUT /v1/kv/{key}`: the body is the value."""
        key, found = key_and_parameters(scope, PATH, "write", EXPIRY)
        ttl_ms, expires_ms = expiry_of(found) if found else (0, 0)
        content_type = _content_type_of(scope)
        condition, named = condition_of(scope), idempotency_key(scope)
        value = await self._uploads.read(scope, receive) if requests.has_body(scope) else b""
        operation = Put(key, value, content_type, ttl_ms, expires_ms, condition=condition, idempotency_key=named)
        written, bucket_id, digest = await self._directory.carry_out(operation)
        if isinstance(written, NotMet):
            raise condition_failed(key, written.revision)
        return HttpAnswer(201 if written.created else 200, b"", b"", _where(written.revision, bucket_id, digest))

    async def delete(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`DELETE /v1/kv/{key}`."""
        key, _ = key_and_parameters(scope, PATH, "write")
        operation = Delete(key, with_value=False, condition=condition_of(scope), idempotency_key=idempotency_key(scope))
        deleted, bucket_id, digest = await self._directory.carry_out(operation)
        if isinstance(deleted, Missing):
            raise not_found(key)
        if isinstance(deleted, NotMet):
            raise condition_failed(key, deleted.revision)
        return HttpAnswer(204, b"", b"", _where(deleted.revision, bucket_id, digest))


def not_found(key: bytes) -> KeyNotFound:
    """No record has the key."""
    return KeyNotFound(f"no record has the key {shown_key(key)!r}")


def condition_failed(key: bytes, revision: int) -> ConditionFailed:
    """revision: of the record there is; 0 where there is none."""
    there = f"it has revision {revision}" if revision else "no record has it"
    return ConditionFailed(f"the key {shown_key(key)!r} does not meet the condition: {there}", revision=revision)


def shown_key(key: bytes) -> str:
    """The key for people: long ones are cut."""
    text = key.decode()
    return text if len(text) <= 100 else text[:100] + "…"


def _described(found: Value | Described, bucket_id: int, digest: str) -> Headers:
    headers = _where(found.revision, bucket_id, digest)
    headers.append(_RANGES)
    headers.append(SANDBOX)
    if found.modified_ms:
        headers.append((b"last-modified", http_date(found.modified_ms // 1000)))
    _add_expiry(headers, found.expires_ms)
    return headers


def _where(revision: int, bucket_id: int, digest: str) -> Headers:
    return [(b"etag", etag(revision)), (b"bucket", b"%d" % bucket_id), (b"digest", digest.encode())]


def _add_expiry(headers: Headers, expires_ms: int) -> None:
    shown = shown_moment(expires_ms)
    if shown is not None:
        headers.append((b"expires-at", shown.encode()))


def _without_value(key: bytes, found: Any, bucket_id: int, digest: str) -> HttpAnswer:
    """Where there is none, or none is to be sent."""
    if isinstance(found, NotMet):
        if not found.unchanged:
            raise condition_failed(key, found.revision)
        headers = _where(found.revision, bucket_id, digest)
        _add_expiry(headers, found.expires_ms)
        return HttpAnswer(304, b"", b"", headers)
    raise not_found(key)


def _content_type_of(scope: Scope) -> str:
    """The body's, as it is to be kept. Raises InvalidRequest, PartialPut, UnsupportedEncoding."""
    content_type = DEFAULT_CONTENT_TYPE
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = requests.content_type(scope) or content_type
            if not _TYPE.fullmatch(value):
                raise InvalidRequest("the Content-Type header has characters that no header may have")
        elif name == b"content-encoding" and value.lower() != b"identity":
            # It would be lost, and the value would come back as something else than it was.
            raise UnsupportedEncoding("values are kept as they are: send it without Content-Encoding")
        elif name == b"content-range":
            raise PartialPut("a value is stored as a whole: Content-Range is not taken (RFC 9110, 14.5)")
    return content_type
