"""Get: the value of a key."""

from __future__ import annotations

from typing import ClassVar

from serve_app import records
from serve_app.operations.answers import Missing, Value
from serve_app.operations.operation import ReadOperation


class Get(ReadOperation[Value | Missing], tag=1):
    """Read a value."""

    name: ClassVar[str] = "get"

    def answer(self, raw: bytes | None) -> Value | Missing:
        if raw is None:
            return Missing()
        record = records.decode(raw)
        return Value(record.value, record.content_type, record.revision)
