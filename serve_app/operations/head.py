"""Head: what a value is like, without the value."""

from __future__ import annotations

from typing import ClassVar

from serve_app.operations.answers import Missing, NotMet
from serve_app.operations.body import Answer
from serve_app.operations.operation import CONDITIONS_SINCE, ReadOperation
from serve_app.records import header, is_text

# RFC 8259, 7: a backslash and a letter, or \u and four digits.
_SHORT_ESCAPES = b'"\\\b\t\n\f\r'
_LONG_ESCAPES = bytes(byte for byte in range(0x20) if byte not in _SHORT_ESCAPES)


class Described(Answer, tag=10):
    """json_bytes: how long the value is as a JSON string, with its quotes and escapes; 0 where it is not UTF-8 text, and
    where that was not asked for. size: the value's bytes. Times as in `Value`."""

    json_bytes: int
    content_type: str
    revision: int
    size: int = 0
    modified_ms: int = 0
    expires_ms: int = 0


class Head(ReadOperation[Described | Missing | NotMet], tag=10):
    """Describe a value. as_json: whether its length as a JSON string is wanted."""

    name: ClassVar[str] = "head"
    as_json: bool = True

    def version_needed(self) -> int:
        return super().version_needed() if self.as_json else CONDITIONS_SINCE

    def describe(self, raw: bytes | None) -> Described | Missing:
        if raw is None:
            return Missing()
        known = header(raw)
        json_bytes = _json_bytes(raw[len(raw) - known.size :]) if self.as_json else 0
        return Described(
            json_bytes, known.content_type, known.revision, known.size, known.modified_ms, known.expires_ms
        )


def _json_bytes(text: bytes) -> int:
    """As long as msgspec's encoder makes UTF-8 text, counted without making it: some values are large, and this may run on
    the bucket's loop."""
    if not is_text(text):
        return 0
    short, long = (len(text) - len(text.translate(None, escaped)) for escaped in (_SHORT_ESCAPES, _LONG_ESCAPES))
    return len(text) + short + 5 * long + len('""')
