"""Head: what a value is like, without the value."""

from __future__ import annotations

from typing import ClassVar

from serve_app.operations.answers import Missing
from serve_app.operations.body import Answer
from serve_app.operations.operation import ReadOperation
from serve_app.records import decode

# RFC 8259, 7: a backslash and a letter, or \u and four digits.
_SHORT_ESCAPES = b'"\\\b\t\n\f\r'
_LONG_ESCAPES = bytes(byte for byte in range(0x20) if byte not in _SHORT_ESCAPES)


class Described(Answer, tag=10):
    """json_bytes: how long the value is as a JSON string, with its quotes and escapes."""

    json_bytes: int
    content_type: str
    revision: int


class Head(ReadOperation[Described | Missing], tag=10):
    """Describe a value."""

    name: ClassVar[str] = "head"
    since: ClassVar[int] = 4

    def answer(self, raw: bytes | None) -> Described | Missing:
        if raw is None:
            return Missing()
        record = decode(raw)
        return Described(_json_bytes(record.value), record.content_type, record.revision)


def _json_bytes(text: bytes) -> int:
    """As long as msgspec's encoder makes UTF-8 text, counted without making it: some values are large, and this may run on
    the bucket's loop."""
    short, long = (len(text) - len(text.translate(None, escaped)) for escaped in (_SHORT_ESCAPES, _LONG_ESCAPES))
    return len(text) + short + 5 * long + len('""')
