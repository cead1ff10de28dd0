"""A record with a large value as JSON, bit by bit: nobody holds it twice, nor the event loop for as long as that takes.

A control character takes six bytes in JSON, so a value of 25 MiB may become 150.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
from collections.abc import Iterator
from typing import Any

import msgspec

from serve_app.http.streams import Large

#: From this size on a value is written so.
LARGE_VALUE_BYTES = 256 * 1024
#: Of a value, at once; a multiple of 3, as base64 goes.
_BIT_BYTES = 48 * 1024
_encode = msgspec.json.Encoder().encode


async def large(
    before: dict[str, Any], value: bytes, after: dict[str, Any], start: bytes = b"", end: bytes = b""
) -> Large:
    """An object with the fields `before`, the value as `value` or `value_base64`, and the fields `after`; `start` and `end`
    around it. Neither has no fields."""
    name, bits = (b"value", _text(value)) if await _is_text(value) else (b"value_base64", _base64(value))
    head = b'%b%b,"%b":"' % (start, _encode(before)[:-1], name)
    tail = b'",%b%b' % (_encode(after)[1:], end)

    def all_bits() -> Iterator[bytes]:
        yield head
        yield from bits
        yield tail

    return Large(value, all_bits())


async def _is_text(value: bytes) -> bool:
    decode = codecs.getincrementaldecoder("utf-8")().decode
    view = memoryview(value)
    try:
        for start in range(0, len(value), _BIT_BYTES):
            decode(view[start : start + _BIT_BYTES])
            await asyncio.sleep(0)
        decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True


def _text(value: bytes) -> Iterator[bytes]:
    decode = codecs.getincrementaldecoder("utf-8")().decode
    view = memoryview(value)
    for start in range(0, len(value), _BIT_BYTES):
        yield _encode(decode(view[start : start + _BIT_BYTES]))[1:-1]


def _base64(value: bytes) -> Iterator[bytes]:
    view = memoryview(value)
    for start in range(0, len(value), _BIT_BYTES):
        yield base64.b64encode(view[start : start + _BIT_BYTES])
