"""Splice: write some bytes into a value, or behind it."""

from __future__ import annotations

from typing import ClassVar

from serve_app.errors import ValueTooLarge
from serve_app.operations.answers import NotMet
from serve_app.operations.body import Answer
from serve_app.operations.operation import VALUES_SINCE, Records, WriteOperation
from serve_app.record_bounds import MAX_VALUE_BYTES, content_type_problem
from serve_app.records import Record, decode, encode

#: Where the value ends.
END = -1


class Sized(Answer, tag=21):
    """How many bytes the value has now."""

    size: int
    revision: int


class Splice(WriteOperation[Sized | NotMet], tag=21):
    """at: from which byte on, or `END`; what is between the value's end and there is filled with zeros. Where no record has
    the key one is made, of `content_type`; else type and expiry stay. Nothing is changed where `value` is empty and `at` is
    not `END`. max_bytes: of the value then, at most."""

    name: ClassVar[str] = "splice"
    since: ClassVar[int] = VALUES_SINCE
    needs_space: ClassVar[bool] = True
    creates: ClassVar[bool] = True
    value: bytes
    content_type: str
    at: int = END
    max_bytes: int = MAX_VALUE_BYTES

    @property
    def payload_bytes(self) -> int:
        return len(self.value)

    def problem(self) -> str:
        if wrong := content_type_problem(self.content_type):
            return wrong
        if self.at < END or not 0 < self.max_bytes <= MAX_VALUE_BYTES:
            return "a place in a value is 0 or more, and no further than a value can be long"
        return super().problem()

    def change(self, records: Records, old: bytes | None) -> Sized:
        """Raises ValueTooLarge; nothing is changed then."""
        before = None if old is None else decode(old)
        value = b"" if before is None else before.value
        if self.at != END and not self.value:
            return Sized(len(value), 0 if before is None else before.revision)
        at = len(value) if self.at == END else self.at
        size = max(len(value), at + len(self.value))
        if size > self.max_bytes:
            raise ValueTooLarge(f"the value would have {size:,} bytes; {self.max_bytes:,} are allowed")
        filled = value[:at].ljust(at, b"\0")
        now_ms = records.now_ms
        made = before or Record(b"", self.content_type, 0, now_ms, now_ms)
        revision = records.next_revision()
        whole = b"".join((filled, self.value, value[at + len(self.value) :]))
        records.put(self.key, encode(made._replace(value=whole, revision=revision, modified_ms=now_ms)), revision)
        return Sized(size, revision)
