"""Get: the value of a key."""

from __future__ import annotations

from typing import ClassVar

from serve_app import records
from serve_app.operations.answers import Missing, NotMet, Value
from serve_app.operations.operation import ReadOperation


class Get(ReadOperation[Value | Missing | NotMet], tag=1):
    """Read a value."""

    name: ClassVar[str] = "get"

    def describe(self, raw: bytes | None) -> Value | Missing:
        if raw is None:
            return Missing()
        start, content_type, revision, _, modified_ms, expires_ms = records.parts(raw)
        return Value(raw[start:], content_type, revision, modified_ms, expires_ms)
