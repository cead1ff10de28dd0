"""Head: what a value is like, without the value."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from serve_app.operations.answers import Missing
from serve_app.operations.body import Answer
from serve_app.operations.operation import ReadOperation
from serve_app.records import decode


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
        # Through this API values are text. One that came otherwise has no JSON string, and its bytes are counted as they are.
        text = record.value.decode(errors="replace")
        return Described(len(msgspec.json.encode(text)), record.content_type, record.revision)
