"""Swap: store a value where there is one, or none, or either; and be told what there was."""

from __future__ import annotations

from typing import ClassVar, Literal

from serve_app.operations.answers import NotMet
from serve_app.operations.body import Answer
from serve_app.operations.expiry import expiry_at, problem_of
from serve_app.operations.operation import VALUES_SINCE, Records, WriteOperation
from serve_app.record_bounds import content_type_problem
from serve_app.records import Record, decode, encode

#: When it stores: always, only where no record has the key, only where one has.
ALWAYS: Literal[0] = 0
WHERE_NONE: Literal[1] = 1
WHERE_THERE: Literal[2] = 2


class Swapped(Answer, tag=20):
    """stored: whether the value is there now, by that revision. existed, value: what there was before; the value where it
    was asked for."""

    stored: bool
    existed: bool
    value: bytes
    revision: int

    @property
    def payload_bytes(self) -> int:
        return len(self.value)


class Swap(WriteOperation[Swapped | NotMet], tag=20):
    """ttl_ms, expires_ms: as in a put. keep_expiry: the record expires when the one before would have. when: `ALWAYS`,
    `WHERE_NONE`, `WHERE_THERE`. with_value: whether the answer is to hold the value that there was."""

    name: ClassVar[str] = "swap"
    since: ClassVar[int] = VALUES_SINCE
    needs_space: ClassVar[bool] = True
    creates: ClassVar[bool] = True
    value: bytes
    content_type: str
    ttl_ms: int = 0
    expires_ms: int = 0
    keep_expiry: bool = False
    when: int = ALWAYS
    with_value: bool = False

    @property
    def payload_bytes(self) -> int:
        return len(self.value)

    @property
    def tells_value(self) -> bool:
        return self.with_value

    def problem(self) -> str:
        if wrong := content_type_problem(self.content_type):
            return wrong
        if self.keep_expiry and (self.ttl_ms or self.expires_ms):
            return "a time of expiry can't be kept and given"
        if self.when not in (ALWAYS, WHERE_NONE, WHERE_THERE):
            return "it stores always, where no record has the key, or where one has"
        return super().problem() or problem_of(self.ttl_ms, self.expires_ms)

    def change(self, records: Records, old: bytes | None) -> Swapped:
        now_ms = records.now_ms
        before = None if old is None else decode(old)
        value = before.value if before is not None and self.with_value else b""
        if self.when == (WHERE_NONE if before is not None else WHERE_THERE):
            return Swapped(False, before is not None, value, 0 if before is None else before.revision)
        at_ms = expiry_at(self.ttl_ms, self.expires_ms, now_ms)
        if self.keep_expiry and before is not None:
            at_ms = before.expires_ms
        revision = records.next_revision()
        born_ms = now_ms if before is None else before.created_ms
        records.put(self.key, encode(Record(self.value, self.content_type, revision, born_ms, now_ms, at_ms)), revision)
        return Swapped(True, before is not None, value, revision)
