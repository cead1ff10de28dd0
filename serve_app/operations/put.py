"""Put: store a value under a key, new or not."""

from __future__ import annotations

from typing import ClassVar

from serve_app.operations.answers import Written
from serve_app.operations.operation import Records, WriteOperation
from serve_app.record_bounds import MAX_CONTENT_TYPE_BYTES
from serve_app.records import Record, created_ms, encode


class Put(WriteOperation[Written], tag=2):
    """content_type: as the client named it, or a default; kept with the value."""

    name: ClassVar[str] = "put"
    needs_space: ClassVar[bool] = True
    value: bytes
    content_type: str

    @property
    def payload_bytes(self) -> int:
        return len(self.value)

    def problem(self) -> str:
        if len(self.content_type.encode()) > MAX_CONTENT_TYPE_BYTES:
            return f"a content type has at most {MAX_CONTENT_TYPE_BYTES} bytes"
        return super().problem()

    def decide(self, records: Records, now_ms: int) -> Written:
        old = records.get(self.key)
        born_ms = now_ms if old is None else created_ms(old)
        revision = records.next_revision()
        records.put(self.key, encode(Record(self.value, self.content_type, revision, born_ms, now_ms)))
        return Written(old is None, revision)
