"""The API's operations as plain functions from a request to an `Answer`.

Both faces use them: the ASGI front (`front.py`), which answers these routes without FastAPI's work on each request, and the
FastAPI app (`app.py`), which declares the same routes for the docs page and serves everything else.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from serve_app.directory.directory import Directory
from serve_app.errors import InvalidRequest
from serve_app.http import requests
from serve_app.http.problems import Headers, KeyNotFound
from serve_app.http.requests import Scope
from serve_app.http.uploads import Receive, Uploads
from serve_app.settings import Limits

DEFAULT_CONTENT_TYPE = "text/plain; charset=utf-8"
_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """An HTTP answer whose body is whole."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: Headers = []  # noqa: RUF012 - a constant
    #: Whether a refusal may take its place: nothing was changed for it.
    repeatable: bool = False


class Operations:
    """Put, get and delete on one directory. All raise the errors of `serve_app.errors`."""

    def __init__(self, directory: Directory, limits: Limits) -> None:
        self._directory = directory
        self._uploads = Uploads(limits)

    async def put(self, scope: Scope, receive: Receive) -> Answer:
        """`PUT /put?key=…&value=…`, or the value as the body."""
        found = requests.parameters(scope, ("key", "value"))
        key = requests.required_key(found)
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
        done = await self._directory.put(key, value, content_type)
        return Answer(
            200,
            _encode(
                {
                    "key": key.decode(),
                    "value": value.decode(),
                    "action": "created" if done.created else "updated",
                    "bucket_id": done.bucket_id,
                    "digest": done.digest,
                }
            ),
        )

    async def get(self, scope: Scope, key: bytes) -> Answer:
        """The value of a key."""
        got = await self._directory.get(key)
        if got.value is None:
            raise _not_found(key)
        body = _encode({"value": got.value.decode(), "bucket_id": got.bucket_id, "digest": got.digest})
        return Answer(200, body, repeatable=True)

    async def delete(self, scope: Scope, key: bytes) -> Answer:
        """Remove a key; the answer holds what it held."""
        gone = await self._directory.delete(key)
        if gone.value is None:
            raise _not_found(key)
        return Answer(
            200,
            _encode(
                {
                    "key": key.decode(),
                    "value": gone.value.decode(),
                    "bucket_id": gone.bucket_id,
                    "digest": gone.digest,
                }
            ),
        )


def key_of(scope: Scope, route: bytes) -> bytes:
    """The key of a request to `/get` or `/delete` (the route): behind a slash in the path, or as the parameter.

    Raises:
        InvalidRequest: it is missing, empty, too long or not UTF-8.
    """
    if requests.local_path(scope) == route:
        return requests.required_key(requests.parameters(scope, ("key",)))
    return requests.key_from_path(scope, route + b"/")


def _not_found(key: bytes) -> KeyNotFound:
    text = key.decode()
    shown = text if len(text) <= 100 else text[:100] + "…"
    return KeyNotFound(f"no record has the key {shown!r}")
