"""`/v1/export` and `/v1/import`: all records with a prefix as lines of JSON (ndjson.org), of any length, in memory that does
not grow with it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from serve_app.auth.access import Access, access_of
from serve_app.directory.directory import Directory
from serve_app.directory.listing import Page, Question
from serve_app.errors import Forbidden, InvalidRequest, OutcomeUnknown, StoreError, Unavailable, ValueTooLarge
from serve_app.http import problems, requests
from serve_app.http.answer import HttpAnswer
from serve_app.http.requests import Scope
from serve_app.http.streams import Piece, StreamedAnswer
from serve_app.http.uploads import Receive, Uploads
from serve_app.http.v1.keys import question, shown_value
from serve_app.http.v1.kv import DEFAULT_CONTENT_TYPE, shown_key
from serve_app.http.v1.large_values import LARGE_VALUE_BYTES, large
from serve_app.http.v1.target import moment_ms, shown_moment
from serve_app.operations import Put
from serve_app.record_bounds import MAX_VALUE_BYTES, check_key
from serve_app.wire.messages import Entry

CONTENT_TYPE = b"application/x-ndjson"
#: A value as an export writes it, where a control character takes six bytes, and all else on its line.
_MAX_LINE_BYTES = MAX_VALUE_BYTES * 6 + 64 * 1024
#: Exports of one directory: a page is in its memory until its client has taken it, and may hold a large value.
MAX_EXPORTS = 16
#: Records that are put together, and bytes of them.
_AT_ONCE, _AT_ONCE_BYTES = 500, 4 * 1024 * 1024
#: For how long what is refused for now is tried again, and how often.
_PATIENCE_S = 60.0
_PAUSE_S = 0.25
#: What a GET can answer with: the type is a header there.
_TYPE = re.compile(r"[\t\x20-\x7e]*")
_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct):
    """A record, or with `exported` the last line of an export. What else is on a line is not looked at."""

    key: str | None = None
    value: str | None = None
    value_base64: bytes | None = None
    content_type: str = DEFAULT_CONTENT_TYPE
    created: str | None = None
    modified: str | None = None
    expires: str | None = None
    exported: int | None = None


_decode = msgspec.json.Decoder(Line).decode


class Transfer:
    """The handlers, on one directory."""

    def __init__(self, directory: Directory, uploads: Uploads) -> None:
        self._directory = directory
        self._uploads = uploads
        self._exports = 0

    async def export(self, scope: Scope, receive: Receive) -> StreamedAnswer:
        """`GET /v1/export`."""
        access = access_of(scope)
        access.require("read")
        asked = question(requests.parameters(scope, ("prefix", "start_after")) | {"values": b"true"})
        access.require_prefix("read", asked.prefix)
        if self._exports >= MAX_EXPORTS:
            raise Unavailable("too many exports are under way at this directory; try again in a moment")
        self._exports += 1
        try:
            first = await self._directory.listing.page(asked)
        except BaseException:
            self._exports -= 1
            raise
        lines = self._lines(first, asked.prefix)
        await anext(lines)  # from here on its end is seen, whoever ends it
        return StreamedAnswer(lines, CONTENT_TYPE)

    async def _lines(self, page: Page, prefix: bytes) -> AsyncGenerator[Piece, None]:
        """The first piece is empty."""
        try:
            yield b""
            async for lines in self._records(page, prefix):
                yield lines
        finally:
            self._exports -= 1

    async def _records(self, page: Page, prefix: bytes) -> AsyncIterator[Piece]:
        exported = 0
        try:
            while True:
                async with aclosing(_pieces_of(page.entries)) as pieces:
                    async for piece in pieces:
                        yield piece
                        del piece
                exported += len(page.entries)
                if page.next is None:
                    break
                page = await self._page(Question(prefix, page.next, values=True))
        except StoreError as error:  # without the last line it is known not to be whole
            yield _encode({"failed": problems.described(error)}) + b"\n"
            return
        yield _encode({"exported": exported}) + b"\n"

    async def _page(self, asked: Question) -> Page:
        give_up_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return await self._directory.listing.page(asked)
            except Unavailable:
                if time.monotonic() >= give_up_s:
                    raise
                await asyncio.sleep(_PAUSE_S)

    async def import_(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`POST /v1/import`: the answer says how many records were stored, also where it stops before the end."""
        access = access_of(scope)
        access.require("write")
        requests.parameters(scope, ())
        requests.check_media_type(scope, (CONTENT_TYPE,))
        taken = _Taken(access)
        try:
            async for numbered in self._batches(scope, receive, taken):
                await self._store(numbered, taken)
        except StoreError as error:
            status, body, headers = problems.answer_to(error)
            told: dict[str, Any] = msgspec.json.decode(body)
            told |= {"imported": taken.imported, "expired": taken.expired, "line": taken.line}
            return HttpAnswer(status, _encode(told), problems.CONTENT_TYPE, headers)
        return HttpAnswer(200, _encode({"imported": taken.imported, "expired": taken.expired}))

    async def _batches(self, scope: Scope, receive: Receive, taken: _Taken) -> AsyncIterator[list[tuple[int, Put]]]:
        """The records with the numbers of their lines, as many as are put together."""
        puts: list[tuple[int, Put]] = []
        keys: set[bytes] = set()
        size = number = 0
        lines = self._read_lines(scope, receive)
        while True:
            number += 1
            try:
                line = await anext(lines, None)
                put = _put(line, number, taken, self._uploads.check_size) if line and line.strip() else None
            except StoreError:
                if puts:  # what is before is stored: from this line on it can be sent again
                    yield puts
                taken.line = number
                raise
            # A batch is one message: it holds more than that only where a single value does. And it holds a key once: the
            # first of two, tried again, would be stored over the second.
            full = put is not None and (size + put.payload_bytes > _AT_ONCE_BYTES or put.key in keys)
            if puts and (line is None or full):
                yield puts
                puts, size, keys = [], 0, set()
            if line is None:
                return
            if put is not None:
                puts.append((number, put))
                keys.add(put.key)
                size += put.payload_bytes
            if len(puts) >= _AT_ONCE:
                yield puts
                puts, size, keys = [], 0, set()

    async def _read_lines(self, scope: Scope, receive: Receive) -> AsyncIterator[bytes]:
        rest = bytearray()
        more = requests.has_body(scope)
        while more:
            chunk, more = await self._uploads.next_chunk(receive, len(rest))
            searched = len(rest)
            rest += chunk
            end = rest.rfind(b"\n", searched)
            if end >= 0:
                with memoryview(rest) as view:
                    lines = bytes(view[:end]).split(b"\n")
                del rest[: end + 1]
                for line in lines:
                    yield line
            if len(rest) > _MAX_LINE_BYTES:
                raise ValueTooLarge(f"a line has at most {_MAX_LINE_BYTES:,} bytes")
        if rest:
            yield bytes(rest)

    async def _store(self, numbered: list[tuple[int, Put]], taken: _Taken) -> None:
        """Put all of them. Raises StoreError: not all of them, and `taken.line` is the first that is missing."""
        give_up_s = time.monotonic() + _PATIENCE_S
        while numbered:
            outcomes = await self._outcomes([put for _, put in numbered])
            again: list[tuple[int, Put]] = []
            failed: list[tuple[int, StoreError]] = []
            for (number, put), outcome in zip(numbered, outcomes, strict=True):
                if not isinstance(outcome, StoreError):
                    taken.imported += 1
                elif put.expires_ms and isinstance(outcome, InvalidRequest):
                    taken.expired += 1  # by the bucket's clock
                elif isinstance(outcome, (Unavailable, OutcomeUnknown)) and time.monotonic() < give_up_s:
                    again.append((number, put))
                else:
                    failed.append((number, outcome))
            if failed:
                number, error = failed[0]
                taken.line = min([number, *(earlier for earlier, _ in again)])
                raise type(error)(f"line {number}: {error}")
            numbered = again
            if again:
                await asyncio.sleep(_PAUSE_S)

    async def _outcomes(self, puts: list[Put]) -> list[Any]:
        try:
            return list(await self._directory.carry_out_all(puts))
        except Unavailable as error:
            return [error] * len(puts)


class _Taken:
    """What an import has done. line: the one that it is at."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.imported = self.expired = self.line = 0


async def _pieces_of(entries: list[Entry]) -> AsyncGenerator[Piece, None]:
    """Their lines, in order: small ones together."""
    lines: list[bytes] = []
    for entry in entries:
        if len(entry.value) < LARGE_VALUE_BYTES:
            name, value = shown_value(entry.value)
            lines.append(_encode({"key": entry.key.decode(), name: value} | _about(entry)) + b"\n")
            continue
        if lines:
            yield b"".join(lines)
            lines = []
        yield await large({"key": entry.key.decode()}, entry.value, _about(entry), end=b"\n")
    if lines:
        yield b"".join(lines)


def _about(entry: Entry) -> dict[str, Any]:
    return {
        "content_type": entry.content_type,
        "created": shown_moment(entry.created_ms),
        "modified": shown_moment(entry.modified_ms),
        "expires": shown_moment(entry.expires_ms),
        "revision": entry.revision,
    }


def _put(raw: bytes, number: int, taken: _Taken, check_size: Callable[[int], None]) -> Put | None:
    """The put of a line; None where there is nothing to put. check_size: raises ValueTooLarge.

    Raises:
        InvalidRequest, Forbidden, ValueTooLarge: why there is none.
    """
    try:
        line = _decode(raw)
        if line.exported is not None:
            return None
        if line.key is None or (line.value is None) == (line.value_base64 is None):
            raise InvalidRequest("a record has 'key', and one of 'value' and 'value_base64'")
        value = line.value.encode() if line.value is not None else line.value_base64
        created_ms, modified_ms, expires_ms = (
            0 if moment is None else moment_ms(moment.encode())
            for moment in (line.created, line.modified, line.expires)
        )
        key = check_key(line.key)
        taken.access.require("write", key)
        check_size(len(value or b""))
        if not _TYPE.fullmatch(line.content_type):
            raise InvalidRequest("'content_type' has characters that no header may have")
        put = Put(
            key,
            value or b"",
            line.content_type,
            expires_ms=expires_ms,
            created_ms=created_ms,
            modified_ms=modified_ms,
        )
        problem = put.problem()
        if problem:
            raise InvalidRequest(f"{shown_key(put.key)!r}: {problem}")
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"line {number}: it is no record: {error}") from None
    except (InvalidRequest, Forbidden, ValueTooLarge) as error:
        raise type(error)(f"line {number}: {error}") from None
    if expires_ms and expires_ms <= time.time() * 1000:
        taken.expired += 1
        return None
    return put
