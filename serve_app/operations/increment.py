"""Increment: add to a number that is kept as decimal text."""

from __future__ import annotations

import re
from typing import ClassVar

from serve_app.errors import NotANumber, NumberOverflow
from serve_app.operations.answers import Counted, NotMet
from serve_app.operations.expiry import expiry_at, problem_of
from serve_app.operations.operation import CONDITIONS_SINCE, Records, WriteOperation
from serve_app.records import Record, decode, encode

LOWEST, HIGHEST = -(2**63), 2**63 - 1
CONTENT_TYPE = "text/plain; charset=utf-8"
_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")


class Increment(WriteOperation[Counted | NotMet], tag=12):
    """by: what to add, of 64 bits with a sign. A key without a record counts from 0; ttl_ms, expires_ms are for the record
    that is made then. Else content type and expiry stay as they are."""

    name: ClassVar[str] = "increment"
    since: ClassVar[int] = CONDITIONS_SINCE
    needs_space: ClassVar[bool] = True
    creates: ClassVar[bool] = True
    by: int = 1
    ttl_ms: int = 0
    expires_ms: int = 0

    def problem(self) -> str:
        if not LOWEST <= self.by <= HIGHEST:
            return "what is added is a number of 64 bits, with a sign"
        return super().problem() or problem_of(self.ttl_ms, self.expires_ms)

    def change(self, records: Records, old: bytes | None) -> Counted:
        """Raises NotANumber, NumberOverflow; nothing is changed then."""
        now_ms = records.now_ms
        if old is None:
            before, born_ms, content_type = 0, now_ms, CONTENT_TYPE
            at_ms = expiry_at(self.ttl_ms, self.expires_ms, now_ms)
        else:
            record = decode(old)
            before, born_ms, content_type = number_in(record.value), record.created_ms, record.content_type
            at_ms = record.expires_ms
        value = before + self.by
        if not LOWEST <= value <= HIGHEST:
            raise NumberOverflow(f"{before} and {self.by} are more than 64 bits hold")
        revision = records.next_revision()
        records.put(self.key, encode(Record(b"%d" % value, content_type, revision, born_ms, now_ms, at_ms)), revision)
        return Counted(value, revision)


def number_in(value: bytes) -> int:
    """The number that a value is the text of.

    Raises:
        NotANumber: it is none, or has more than 64 bits.
    """
    if not _NUMBER.fullmatch(value) or not LOWEST <= (number := int(value)) <= HIGHEST:
        raise NotANumber("the value is not the decimal text of a number of 64 bits")
    return number
