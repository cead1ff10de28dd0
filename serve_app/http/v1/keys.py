"""`/v1/keys`: the keys of the store in the order of their bytes, a page at a time."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from serve_app.auth.access import access_of
from serve_app.directory.directory import Directory
from serve_app.directory.listing import Question
from serve_app.errors import InvalidRequest
from serve_app.http import requests
from serve_app.http.answer import HttpAnswer
from serve_app.http.requests import Scope
from serve_app.http.uploads import Receive
from serve_app.http.v1.target import shown_moment
from serve_app.record_bounds import MAX_KEY_BYTES
from serve_app.wire.messages import MAX_LISTED, Entry

_PARAMETERS = ("prefix", "start_after", "delimiter", "limit", "values")
_encode = msgspec.json.Encoder().encode
_BOOLEANS = {b"true": True, b"false": False}


class Keys:
    """The handler, on one directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def list(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`GET /v1/keys`."""
        access = access_of(scope)
        access.require("read")
        asked = question(requests.parameters(scope, _PARAMETERS))
        access.require_prefix("read", asked.prefix)
        page = await self._directory.listing.page(asked)
        answer = {
            "keys": [shown(entry, with_value=asked.values) for entry in page.entries],
            "common_prefixes": [name.decode() for name in page.prefixes],
            "next": None if page.next is None else page.next.decode(),
        }
        return HttpAnswer(200, _encode(answer), repeatable=True)


def question(parameters: dict[str, bytes]) -> Question:
    """What the parameters ask for.

    Raises:
        InvalidRequest: one of them is wrong.
    """
    limit, values = parameters.get("limit", b"%d" % MAX_LISTED), parameters.get("values", b"false")
    if not limit.isdigit() or len(limit) > 4 or not 1 <= int(limit) <= MAX_LISTED:
        raise InvalidRequest(f"the parameter 'limit' is a number from 1 to {MAX_LISTED}")
    if values not in _BOOLEANS:
        raise InvalidRequest("the parameter 'values' is 'true' or 'false'")
    prefix, start_after, delimiter = (parameters.get(name, b"") for name in ("prefix", "start_after", "delimiter"))
    if max(len(prefix), len(start_after), len(delimiter)) > MAX_KEY_BYTES:
        raise InvalidRequest(f"a prefix, a start and a delimiter have at most {MAX_KEY_BYTES:,} bytes")
    return Question(prefix, start_after, delimiter, int(limit), _BOOLEANS[values])


def shown(entry: Entry, *, with_value: bool) -> dict[str, Any]:
    """A record as it is listed."""
    told = {
        "key": entry.key.decode(),
        "revision": entry.revision,
        "size": entry.size,
        "content_type": entry.content_type,
        "modified": shown_moment(entry.modified_ms),
        "expires": shown_moment(entry.expires_ms),
    }
    if with_value:
        name, value = shown_value(entry.value)
        told[name] = value
    return told


def shown_value(value: bytes) -> tuple[str, str]:
    """A value in JSON, under the name that says how it is written: as text where it is UTF-8, else in base64."""
    try:
        return "value", value.decode()
    except UnicodeDecodeError:
        return "value_base64", base64.b64encode(value).decode()
