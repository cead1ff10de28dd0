"""`/v1/increment` and `/v1/touch`: changes of a record that need none of its value sent."""

from __future__ import annotations

import msgspec

from serve_app.directory.directory import Directory
from serve_app.errors import InvalidRequest
from serve_app.http import requests
from serve_app.http.answer import HttpAnswer
from serve_app.http.conditions import etag
from serve_app.http.requests import Scope
from serve_app.http.uploads import Receive, Uploads
from serve_app.http.v1.kv import condition_failed, not_found
from serve_app.http.v1.target import (
    EXPIRY,
    check_expiry,
    condition_of,
    expiry_of,
    idempotency_key,
    key_and_parameters,
    milliseconds_of,
    shown_moment,
)
from serve_app.operations import Increment, Missing, NotMet, Touch

#: More than a body needs that says how much to add.
_MAX_BODY_BYTES = 1024
_encode = msgspec.json.Encoder().encode


class IncrementBody(msgspec.Struct, forbid_unknown_fields=True):
    """by: what to add. ttl: seconds, for a record that is made by this."""

    by: int = 1
    ttl: float | None = None


_decode = msgspec.json.Decoder(IncrementBody).decode


class Counters:
    """The handlers, on one directory."""

    def __init__(self, directory: Directory, uploads: Uploads) -> None:
        self._directory = directory
        self._uploads = uploads

    async def increment(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`POST /v1/increment?key=…` with `{"by": 1}`, or without a body."""
        key, _ = key_and_parameters(scope, b"/v1/increment", "write")
        condition, named = condition_of(scope), idempotency_key(scope)
        asked = IncrementBody()
        if requests.has_body(scope):
            requests.check_media_type(scope, (b"application/json",))
            body = await self._uploads.read(scope, receive, _MAX_BODY_BYTES)
            asked = _body(body) if body else asked
        operation = Increment(key, asked.by, _ttl_ms(asked.ttl), condition=condition, idempotency_key=named)
        if problem := operation.problem():
            raise InvalidRequest(problem)
        counted, _, _ = await self._directory.carry_out(operation)
        if isinstance(counted, NotMet):
            raise condition_failed(key, counted.revision)
        answer = _encode({"value": counted.value, "revision": counted.revision})
        return HttpAnswer(200, answer, headers=[(b"etag", etag(counted.revision))])

    async def touch(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`POST /v1/touch?key=…&ttl=…`, or with `expires_at`, which may be `never`."""
        key, found = key_and_parameters(scope, b"/v1/touch", "write", EXPIRY)
        if not found.keys() & {*EXPIRY}:
            raise InvalidRequest(
                "when is it to expire? Give the parameter 'ttl', or 'expires_at' (which may be 'never')"
            )
        ttl_ms, expires_ms = expiry_of(found)
        operation = Touch(
            key,
            ttl_ms,
            expires_ms,
            condition=condition_of(scope),
            idempotency_key=idempotency_key(scope),
        )
        if requests.has_body(scope):
            raise InvalidRequest("a touch takes no body")
        touched, _, _ = await self._directory.carry_out(operation)
        if isinstance(touched, Missing):
            raise not_found(key)
        if isinstance(touched, NotMet):
            raise condition_failed(key, touched.revision)
        answer = _encode({"expires": shown_moment(touched.expires_ms), "revision": touched.revision})
        return HttpAnswer(200, answer, headers=[(b"etag", etag(touched.revision))])


def _body(body: bytes) -> IncrementBody:
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f'the body is not like {{"by": 1}}: {error}') from None


def _ttl_ms(ttl: float | None) -> int:
    if ttl is None:
        return 0
    ttl_ms = milliseconds_of(ttl)
    check_expiry(ttl_ms, 0)
    return ttl_ms
