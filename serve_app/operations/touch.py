"""Touch: have a record expire at another time, or never."""

from __future__ import annotations

from typing import ClassVar

from serve_app.operations.answers import Missing, NotMet, Touched
from serve_app.operations.expiry import expiry_at, problem_of
from serve_app.operations.operation import CONDITIONS_SINCE, Records, WriteOperation
from serve_app.records import decode, encode


class Touch(WriteOperation[Touched | Missing | NotMet], tag=11):
    """ttl_ms, expires_ms: as in a put; neither: never. The value stays, and the time of its last modification with it."""

    name: ClassVar[str] = "touch"
    since: ClassVar[int] = CONDITIONS_SINCE
    needs_space: ClassVar[bool] = True
    ttl_ms: int = 0
    expires_ms: int = 0

    def problem(self) -> str:
        return super().problem() or problem_of(self.ttl_ms, self.expires_ms)

    def change(self, records: Records, old: bytes | None) -> Touched | Missing:
        if old is None:
            return Missing()
        at_ms = expiry_at(self.ttl_ms, self.expires_ms, records.now_ms)
        revision = records.next_revision()
        records.put(self.key, encode(decode(old)._replace(revision=revision, expires_ms=at_ms)), revision)
        return Touched(at_ms, revision)
