"""`/v1/watch`: what changes, as server-sent events (WHATWG HTML Standard, 9.2).

Those who watch the same and keep up are sent the same bytes, which are made once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import msgspec

from serve_app.auth.access import access_of
from serve_app.changes import NAMES, PUT
from serve_app.directory import places
from serve_app.directory.directory import Directory
from serve_app.directory.merged_feed import Event, last_puts
from serve_app.directory.watches import Some
from serve_app.errors import HistoryLost, InvalidRequest, StoreError, Unavailable, ValueTooLarge
from serve_app.http import requests
from serve_app.http.requests import Scope
from serve_app.http.streams import Piece, StreamedAnswer
from serve_app.http.uploads import Receive
from serve_app.http.v1.keys import shown_value
from serve_app.http.v1.large_values import LARGE_VALUE_BYTES, large
from serve_app.operations import Get, Missing, Value

#: A proxy that hears nothing for a while hangs up.
HEARTBEAT_S = 10.0
_CONTENT_TYPE = b"text/event-stream"
# nginx would keep events back to send them together.
_HEADERS = [(b"x-accel-buffering", b"no")]
_PIECES_KEPT, _KEPT_BYTES = 64, 16 * 1024 * 1024
#: Who reads values at once: each may hold as much as a batch is answered with.
_READING = 4
#: Values in a piece, about: pieces are kept, and each watch has one on its way. What has more is told in parts.
_MAX_PIECE_BYTES = 1024 * 1024
#: Values that are asked for in one batch.
_ASKED_TOGETHER = 100
#: How often a value that can't be read is asked for again, and for how long.
_PAUSE_S, _PATIENCE_S = 0.2, 60.0
_encode = msgspec.json.Encoder().encode
_BOOLEANS = {b"true": True, b"false": False}


class Watching:
    """The handler, on one directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        #: Pieces made last, by what they are of.
        self._pieces: OrderedDict[tuple[Any, ...], asyncio.Future[bytes | None]] = OrderedDict()
        self._reading = asyncio.Semaphore(_READING)
        #: Large values that are being told, by key and revision, and to how many: one copy for all of them.
        self._large: dict[tuple[bytes, int], tuple[Value, int]] = {}

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
        prefix = requests.check_prefix(found.get("prefix", b""))
        access.require_prefix("read", prefix)
        told = await self._directory.watches.watch(prefix, last_id.decode(), HEARTBEAT_S)
        return StreamedAnswer(self._events(told, prefix, values), _CONTENT_TYPE, list(_HEADERS))

    async def _events(self, told: AsyncIterator[Some], prefix: bytes, values: bool) -> AsyncIterator[Piece]:
        try:
            yield b": watching\nretry: 1000\n\n"
            async for some in told:
                piece = await self._piece(some, prefix, values)
                if piece is not None:
                    yield piece
                    del piece  # it may be long until there is another one
                    continue
                async with aclosing(self._in_parts(some)) as parts:  # type: ignore[type-var]
                    async for part in parts:
                        yield part
                        del part
        except HistoryLost as error:
            yield _last("history-lost", error)
        except Unavailable as error:
            yield _last("dropped", error)
        finally:
            await told.aclose()  # type: ignore[attr-defined]

    async def _piece(self, some: Some, prefix: bytes, values: bool) -> bytes | None:
        """Made once for all that are told the same. None: its values are too much to be held together."""
        if some.looked_at is None:
            return await self._make(some, values)
        key = (some.looked_at, prefix, values)
        made = self._pieces.get(key)
        if made is None:
            made = self._pieces[key] = asyncio.ensure_future(self._make(some, values))
            made.add_done_callback(self._keep)
        return await asyncio.shield(made)

    def _keep(self, made: asyncio.Future[bytes | None]) -> None:
        """Let go of what was made first where there is much."""
        kept = sum(map(_size_of, self._pieces.values()))
        while len(self._pieces) > 1 and (len(self._pieces) > _PIECES_KEPT or kept > _KEPT_BYTES):
            _, first = self._pieces.popitem(last=False)
            kept -= _size_of(first)

    async def _make(self, some: Some, values: bool) -> bytes | None:
        if not values:
            told = [_told(event) for event in some.events]
            return b"\n".join(told) + self._end(some, told)
        async with self._reading:
            last = last_puts(some.events)
            found: dict[bytes, Value] = {}
            keys, size = list(last), 0
            for start in range(0, len(keys), _ASKED_TOGETHER):
                asked = await self._values_of(keys[start : start + _ASKED_TOGETHER])
                if asked is None:
                    return None
                found |= asked
                size += sum(len(value.value) for value in asked.values())
                if size > _MAX_PIECE_BYTES:
                    return None
            told = [block for number, event in enumerate(some.events) if (block := _block(event, number, last, found))]
            return b"\n".join(told) + self._end(some, told)

    async def _in_parts(self, some: Some) -> AsyncIterator[Piece]:
        """Told value by value. The id comes with the last of them: who comes back before is told all again."""
        last = last_puts(some.events)
        blocks: list[bytes] = []
        size = 0
        for number, event in enumerate(some.events):
            change = event.change
            found: dict[bytes, Value] = {}
            if change.kind == PUT and last[change.key] == number:
                async with self._reading:
                    told = self._large.get((change.key, change.revision))
                    found = await self._value_of(change.key) if told is None else {change.key: told[0]}
                    del told
            if _is_large(found.get(change.key), change.revision):
                if blocks:
                    yield b"\n".join(blocks) + b"\n"
                    blocks, size = [], 0
                with self._one_copy(change.key, found.pop(change.key)) as value:
                    before = {"key": change.key.decode(), "revision": value.revision}
                    after = {"content_type": value.content_type}
                    yield await large(before, value.value, after, b"event: put\ndata: ", b"\n\n")
                    del value
                continue
            block = _block(event, number, last, found)
            if not block:
                continue
            if blocks and size + len(block) > _MAX_PIECE_BYTES:
                yield b"\n".join(blocks) + b"\n"
                blocks, size = [], 0
            blocks.append(block)
            size += len(block)
        yield b"\n".join(blocks) + self._end(some, blocks)

    @contextmanager
    def _one_copy(self, key: bytes, found: Value) -> Iterator[Value]:
        """The value, as those hold it who are telling the same now."""
        name = (key, found.revision)
        value, tellers = self._large.get(name, (found, 0))
        self._large[name] = (value, tellers + 1)
        del found
        try:
            yield value
        finally:
            tellers = self._large[name][1] - 1
            if tellers:
                self._large[name] = (value, tellers)
            else:
                del self._large[name]

    def _end(self, some: Some, told: list[bytes]) -> bytes:
        name = places.shown(self._directory.watches.store_id(), some.place).encode()
        # An id alone is no event, and is remembered all the same.
        return (b"id: " if told else b": nothing of this\nid: ") + name + b"\n\n"

    async def _values_of(self, keys: list[bytes]) -> dict[bytes, Value] | None:
        """Those that there are; None where they are more than a batch is answered with. Raises Unavailable."""
        found: dict[bytes, Value] = {}
        give_up_s = asyncio.get_running_loop().time() + _PATIENCE_S
        while keys:
            outcomes = await self._directory.carry_out_all([Get(key) for key in keys])
            left = []
            for key, outcome in zip(keys, outcomes, strict=True):
                if isinstance(outcome, ValueTooLarge):
                    return None
                if isinstance(outcome, StoreError):
                    left.append(key)
                elif isinstance(outcome.answer, Value):
                    found[key] = outcome.answer
                else:
                    assert isinstance(outcome.answer, Missing), "there is no condition"
            if len(left) == len(keys):
                await self._pause(give_up_s)
            keys = left
        return found

    async def _value_of(self, key: bytes) -> dict[bytes, Value]:
        """The one, if it is there. Raises Unavailable."""
        give_up_s = asyncio.get_running_loop().time() + _PATIENCE_S
        while True:
            try:
                answer = (await self._directory.carry_out(Get(key))).answer
            except StoreError:
                await self._pause(give_up_s)
                continue
            return {key: answer} if isinstance(answer, Value) else {}

    async def _pause(self, give_up_s: float) -> None:
        if asyncio.get_running_loop().time() >= give_up_s:
            raise Unavailable("a value that is to be told can't be read")
        await asyncio.sleep(_PAUSE_S)


def _is_large(value: Value | None, revision: int) -> bool:
    """Whether that is a value of the revision, or a later one, that is told bit by bit."""
    return value is not None and value.revision >= revision and len(value.value) >= LARGE_VALUE_BYTES


def _size_of(made: asyncio.Future[bytes | None]) -> int:
    """Of a piece that is made; of one that is not, and of none, nothing."""
    failed = not made.done() or made.cancelled() or made.exception() is not None
    return 0 if failed else len(made.result() or b"")


def _block(event: Event, number: int, last: dict[bytes, int], values: dict[bytes, Value]) -> bytes:
    """An event with its value; empty where it is not told."""
    change = event.change
    if change.kind != PUT:
        return _told(event)
    found = values.get(change.key)
    # Where it is gone, or has an earlier revision, what is to be told of that comes.
    if last[change.key] != number or found is None or found.revision < change.revision:
        return b""
    name, value = shown_value(found.value)
    data = {"key": change.key.decode(), "revision": found.revision, name: value, "content_type": found.content_type}
    return _written(b"put", _encode(data))


def _told(event: Event) -> bytes:
    kind, key, revision, *_ = event.change
    return _written(NAMES[kind].encode(), _encode({"key": key.decode(), "revision": revision}))


def _written(kind: bytes, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n" % (kind, data)


def _last(name: str, error: StoreError) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode({"detail": str(error)}))
