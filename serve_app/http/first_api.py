"""The first API: put, get and delete, whose answers are JSON and whose values are text.

Each handler makes an operation of a request, has the directory carry it out, and makes an answer of what comes back. They
raise the errors of `serve_app.errors`. `routes.py` says which request goes to which.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from serve_app.auth.access import ScopeName, access_of
from serve_app.directory.directory import Directory
from serve_app.errors import InvalidRequest, KeyNotFound, NotText
from serve_app.http import requests
from serve_app.http.answer import HttpAnswer
from serve_app.http.requests import Scope
from serve_app.http.uploads import Receive, Uploads
from serve_app.operations import Delete, Deleted, Described, Get, Head, Put, Value, Written

DEFAULT_CONTENT_TYPE = "text/plain; charset=utf-8"
_encode = msgspec.json.Encoder().encode


class FirstApi:
    """The handlers, on one directory."""

    def __init__(self, directory: Directory, uploads: Uploads) -> None:
        self._directory = directory
        self._uploads = uploads

    async def put(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`PUT /put?key=…&value=…`, or the value as the body."""
        access = access_of(scope)
        access.require("write")
        found = requests.parameters(scope, ("key", "value"))
        key = requests.required_key(found)
        access.require("write", key)
        value = found.get("value")
        if value is not None:
            self._uploads.check_size(len(value))
        content_type = DEFAULT_CONTENT_TYPE
        if requests.has_body(scope):
            body = await self._uploads.read(scope, receive)
            if body and value is not None:
                raise InvalidRequest("the value is given twice, as the parameter 'value' and as the body")
            if body:
                requests.check_utf8(body, "the body")
                value = body
                content_type = requests.content_type(scope) or content_type
        if value is None:
            raise InvalidRequest("the value is missing: give the parameter 'value' (it may be empty) or a body")
        written, bucket_id, digest = await self._directory.carry_out(Put(key, value, content_type))
        assert isinstance(written, Written), "there is no condition"
        return HttpAnswer(
            200,
            _encode(
                {
                    "key": key.decode(),
                    "value": value.decode(),
                    "action": "created" if written.created else "updated",
                    "bucket_id": bucket_id,
                    "digest": digest,
                }
            ),
        )

    async def get(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`GET /get/{key}` and `GET /get?key=…`."""
        key = _key_of(scope, b"/get", "read")
        found, bucket_id, digest = await self._directory.carry_out(Get(key))
        if not isinstance(found, Value):
            raise _not_found(key)
        body = _encode({"value": _text(key, found.value), "bucket_id": bucket_id, "digest": digest})
        return HttpAnswer(200, body, repeatable=True)

    async def head(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`HEAD /get/{key}` and `HEAD /get?key=…`: as long as the answer to a GET."""
        key = _key_of(scope, b"/get", "read")
        found, bucket_id, digest = await self._directory.carry_out(Head(key))
        if not isinstance(found, Described):
            raise _not_found(key)
        if not found.json_bytes:
            raise _not_text(key)
        around = _encode({"value": "", "bucket_id": bucket_id, "digest": digest})
        return HttpAnswer(200, b"", length=len(around) - len(b'""') + found.json_bytes)

    async def delete(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`DELETE /delete/{key}` and `DELETE /delete?key=…`; the answer holds what the record held."""
        key = _key_of(scope, b"/delete", "write")
        deleted, bucket_id, digest = await self._directory.carry_out(Delete(key, text_only=True))
        if not isinstance(deleted, Deleted):
            raise _not_found(key)
        value = deleted.value.decode()
        return HttpAnswer(200, _encode({"key": key.decode(), "value": value, "bucket_id": bucket_id, "digest": digest}))


def _key_of(scope: Scope, route: bytes, needed: ScopeName) -> bytes:
    """The key of a request to `/get` or `/delete` (the route): behind a slash in the path, or as the parameter. The request
    may do to it what is needed.

    Raises:
        InvalidRequest: it is missing, empty, too long or not UTF-8.
        Unauthorized, Forbidden, Unavailable: it may not be touched (`Access.require`).
    """
    access = access_of(scope)
    access.require(needed)  # who may do nothing here is told that, and not what is wrong with the key
    if requests.local_path(scope) == route:
        key = requests.required_key(requests.parameters(scope, ("key",)))
    else:
        key = requests.key_from_path(scope, route + b"/")
    access.require(needed, key)
    return key


def _text(key: bytes, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _not_text(key) from None


def _not_text(key: bytes) -> NotText:
    return NotText(f"the value is not UTF-8 text; its bytes are at /v1/kv?key={quote(key, safe='')}")


def _not_found(key: bytes) -> KeyNotFound:
    text = key.decode()
    shown = text if len(text) <= 100 else text[:100] + "…"
    return KeyNotFound(f"no record has the key {shown!r}")
