"""Delete: remove a key's record."""

from __future__ import annotations

from typing import ClassVar

from serve_app.operations.answers import Deleted, Missing
from serve_app.operations.operation import Records, WriteOperation
from serve_app.records import decode


class Delete(WriteOperation[Deleted | Missing], tag=3):
    """Answered with what the record held."""

    name: ClassVar[str] = "delete"

    def decide(self, records: Records, now_ms: int) -> Deleted | Missing:
        raw = records.get(self.key)
        if raw is None:
            return Missing()
        old = decode(raw)
        records.delete(self.key)
        return Deleted(old.value, old.content_type, records.next_revision())
