"""`/v1/watch`: what changes, as server-sent events (WHATWG HTML Standard, 9.2).

Those who watch the same and keep up are sent the same bytes, which are made once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from serve_app.auth.access import access_of
from serve_app.changes import DELETE, EXPIRE, PUT
from serve_app.directory import places
from serve_app.directory.directory import Directory
from serve_app.directory.merged_feed import Event
from serve_app.directory.watches import Some
from serve_app.errors import HistoryLost, InvalidRequest, StoreError, Unavailable
from serve_app.http import requests
from serve_app.http.requests import Scope
from serve_app.http.streams import StreamedAnswer
from serve_app.http.uploads import Receive
from serve_app.http.v1.keys import shown_value
from serve_app.operations import Get, Missing, Value

#: A proxy that hears nothing for a while hangs up.
HEARTBEAT_S = 10.0
_CONTENT_TYPE = b"text/event-stream"
# nginx would keep events back to send them together.
_HEADERS = [(b"x-accel-buffering", b"no")]
_NAMES = {PUT: "put", DELETE: "delete", EXPIRE: "expire"}
_PIECES_KEPT = 64
_PAUSE_S = 0.2
_encode = msgspec.json.Encoder().encode
_BOOLEANS = {b"true": True, b"false": False}


class Watching:
    """The handler, on one directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        #: Pieces made last, by what they are of.
        self._pieces: OrderedDict[tuple[Any, ...], asyncio.Future[bytes]] = OrderedDict()

    async def watch(self, scope: Scope, receive: Receive) -> StreamedAnswer:
        """`GET /v1/watch`."""
        access = access_of(scope)
        access.require("read")
        found = requests.parameters(scope, ("prefix", "values", "last_event_id"))
        values = _BOOLEANS.get(found.get("values", b"false"))
        if values is None:
            raise InvalidRequest("the parameter 'values' is 'true' or 'false'")
        last_id = requests.header(scope, b"last-event-id") or found.get("last_event_id", b"")
        if not last_id.isascii():
            raise InvalidRequest("Last-Event-ID is no id that a watch of this store has given")
        prefix = found.get("prefix", b"")
        access.require_prefix("read", prefix)
        told = await self._directory.watches.watch(prefix, last_id.decode(), HEARTBEAT_S)
        return StreamedAnswer(self._events(told, prefix, values), _CONTENT_TYPE, list(_HEADERS))

    async def _events(self, told: AsyncIterator[Some], prefix: bytes, values: bool) -> AsyncIterator[bytes]:
        yield b": watching\nretry: 1000\n\n"
        try:
            async for some in told:
                yield await self._piece(some, prefix, values)
        except HistoryLost as error:
            yield _last("history-lost", error)
        except Unavailable as error:
            yield _last("dropped", error)
        finally:
            await told.aclose()  # type: ignore[attr-defined]

    async def _piece(self, some: Some, prefix: bytes, values: bool) -> bytes:
        """Made once for all that are told the same."""
        if some.looked_at is None:
            return await self._make(some, values)
        key = (some.looked_at, prefix, values)
        made = self._pieces.get(key)
        if made is None:
            made = self._pieces[key] = asyncio.ensure_future(self._make(some, values))
            while len(self._pieces) > _PIECES_KEPT:
                self._pieces.popitem(last=False)
        return await asyncio.shield(made)

    async def _make(self, some: Some, values: bool) -> bytes:
        told = await self._with_values(some.events) if values else [_told(event) for event in some.events]
        name = places.shown(self._directory.watches.store_id(), some.place).encode()
        if not told:
            # An id alone is no event, and is remembered all the same.
            return b": nothing of this\nid: " + name + b"\n\n"
        blocks = [b"event: %b\ndata: %b\n" % (kind, data) for kind, data in told]
        return b"\n".join(blocks) + b"id: " + name + b"\n\n"

    async def _with_values(self, events: list[Event]) -> list[tuple[bytes, bytes]]:
        """Of several puts of a key the last one alone: the value is the one that there is now."""
        last = {event.change.key: number for number, event in enumerate(events) if event.change.kind == PUT}
        values = await self._values_of(list(last))
        told: list[tuple[bytes, bytes]] = []
        for number, event in enumerate(events):
            change = event.change
            if change.kind != PUT:
                told.append(_told(event))
                continue
            found = values.get(change.key)
            # Where it is gone, or has an earlier revision, what is to be told of that comes.
            if last[change.key] == number and found is not None and found.revision >= change.revision:
                name, value = shown_value(found.value)
                data = {"key": change.key.decode(), "revision": found.revision, name: value}
                told.append((b"put", _encode(data | {"content_type": found.content_type})))
        return told

    async def _values_of(self, keys: list[bytes]) -> dict[bytes, Value]:
        found: dict[bytes, Value] = {}
        while keys:
            outcomes = await self._directory.carry_out_all([Get(key) for key in keys])
            left = []
            for key, outcome in zip(keys, outcomes, strict=True):
                if isinstance(outcome, StoreError):
                    left.append(key)
                elif isinstance(outcome.answer, Value):
                    found[key] = outcome.answer
                else:
                    assert isinstance(outcome.answer, Missing), "there is no condition"
            if len(left) == len(keys):
                await asyncio.sleep(_PAUSE_S)
            keys = left
        return found


def _told(event: Event) -> tuple[bytes, bytes]:
    kind, key, revision, *_ = event.change
    return _NAMES[kind].encode(), _encode({"key": key.decode(), "revision": revision})


def _last(name: str, error: StoreError) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode({"detail": str(error)}))
