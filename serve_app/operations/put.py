"""Put: store a value under a key, new or not."""

from __future__ import annotations

from typing import ClassVar

from serve_app.operations.answers import NotMet, Written
from serve_app.operations.expiry import MAX_TIME_MS, expiry_at, problem_of
from serve_app.operations.operation import CONDITIONS_SINCE, Records, WriteOperation
from serve_app.record_bounds import content_type_problem
from serve_app.records import Record, created_ms, encode


class Put(WriteOperation[Written | NotMet], tag=2):
    """content_type: as the client named it, or a default; kept with the value.

    ttl_ms, expires_ms: when it is to expire (`expiry.py`); a put that asks for neither leaves a record that never does.
    created_ms, modified_ms: of a record that is imported; 0: now.
    """

    name: ClassVar[str] = "put"
    needs_space: ClassVar[bool] = True
    creates: ClassVar[bool] = True
    value: bytes
    content_type: str
    ttl_ms: int = 0
    expires_ms: int = 0
    created_ms: int = 0
    modified_ms: int = 0

    @property
    def payload_bytes(self) -> int:
        return len(self.value)

    def version_needed(self) -> int:
        plain = not (self.ttl_ms or self.expires_ms or self.created_ms or self.modified_ms)
        return super().version_needed() if plain else CONDITIONS_SINCE

    def problem(self) -> str:
        if wrong := content_type_problem(self.content_type):
            return wrong
        if not (self.ttl_ms or self.expires_ms or self.created_ms or self.modified_ms):
            return super().problem()
        if not (0 <= self.created_ms <= MAX_TIME_MS and 0 <= self.modified_ms <= MAX_TIME_MS):
            return "a time is no later than the year 9999"
        return super().problem() or problem_of(self.ttl_ms, self.expires_ms)

    def change(self, records: Records, old: bytes | None) -> Written:
        now_ms = records.now_ms
        at_ms = expiry_at(self.ttl_ms, self.expires_ms, now_ms)
        born_ms = self.created_ms or (now_ms if old is None else created_ms(old))
        revision = records.next_revision()
        record = Record(self.value, self.content_type, revision, born_ms, self.modified_ms or now_ms, at_ms)
        records.put(self.key, encode(record), revision)
        return Written(old is None, revision)
