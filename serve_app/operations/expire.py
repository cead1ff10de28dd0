"""Expire: have a record expire at another time, or never, if it is one of those meant; and be told its value, if wanted."""

from __future__ import annotations

from typing import ClassVar, Literal

from serve_app.operations.answers import Deleted, Missing, NotMet, Touched, Value
from serve_app.operations.expiry import expiry_at, problem_of
from serve_app.operations.operation import VALUES_SINCE, Records, WriteOperation
from serve_app.records import Record, decode, encode

#: Of which records: all; those that never expire; those that do; those that would expire earlier, or later, than they will;
#: those of the last that expire at all.
ANY_EXPIRY: Literal[0] = 0
WHERE_NEVER: Literal[1] = 1
WHERE_EXPIRING: Literal[2] = 2
WHERE_EARLIER: Literal[3] = 3
WHERE_LATER: Literal[4] = 4
WHERE_EXPIRING_LATER: Literal[5] = 5
_NEVER_MS = 1 << 62


class Expire(WriteOperation[Touched | Value | Deleted | Missing | NotMet], tag=23):
    """As `Touch`, and more. ttl_ms, expires_ms: as in a put; neither: never. The value stays, and the time of its last
    modification with it.

    only: of which records (`ANY_EXPIRY` and on); what never expires counts as expiring last. Another is answered with
    `NotMet`. with_value: the answer is the record's value. A time that has passed deletes the record, and the answer is that.
    """

    name: ClassVar[str] = "expire"
    since: ClassVar[int] = VALUES_SINCE
    needs_space: ClassVar[bool] = True
    ttl_ms: int = 0
    expires_ms: int = 0
    only: int = ANY_EXPIRY
    with_value: bool = False

    @property
    def tells_value(self) -> bool:
        return self.with_value

    def problem(self) -> str:
        if not ANY_EXPIRY <= self.only <= WHERE_EXPIRING_LATER:
            return "it is for all records, or those that expire never, at some time, earlier or later"
        return super().problem() or problem_of(self.ttl_ms, self.expires_ms)

    def change(self, records: Records, old: bytes | None) -> Touched | Value | Deleted | Missing | NotMet:
        if old is None:
            return Missing()
        record = decode(old)
        passed = 0 < self.expires_ms <= records.now_ms
        at_ms = self.expires_ms if passed else expiry_at(self.ttl_ms, self.expires_ms, records.now_ms)
        if self.only and not self._means(record.expires_ms, at_ms):
            return NotMet(record.revision, record.modified_ms, record.expires_ms)
        revision = records.next_revision()
        if passed:
            records.delete(self.key, revision)
            return Deleted(record.value if self.with_value else b"", record.content_type, revision)
        changed: Record = record._replace(revision=revision, expires_ms=at_ms)
        records.put(self.key, encode(changed), revision)
        if self.with_value:
            return Value(record.value, record.content_type, revision, record.modified_ms, at_ms)
        return Touched(at_ms, revision)

    def _means(self, before_ms: int, at_ms: int) -> bool:
        if self.only in (WHERE_NEVER, WHERE_EXPIRING):
            return bool(before_ms) == (self.only == WHERE_EXPIRING)
        if self.only == WHERE_EXPIRING_LATER and not before_ms:
            return False
        before_ms, at_ms = before_ms or _NEVER_MS, at_ms or _NEVER_MS
        return at_ms > before_ms if self.only == WHERE_EARLIER else at_ms < before_ms
