"""Delete: remove a key's record."""

from __future__ import annotations

from typing import ClassVar

from serve_app.errors import NotText
from serve_app.operations.answers import Deleted, Missing, NotMet
from serve_app.operations.operation import CONDITIONS_SINCE, Records, WriteOperation
from serve_app.records import decode, is_text


class Delete(WriteOperation[Deleted | Missing | NotMet], tag=3):
    """with_value: whether the answer is to hold the value that there was. text_only: a value that is not UTF-8 text is left
    as it is, for the answer could not be passed on."""

    name: ClassVar[str] = "delete"
    with_value: bool = True
    text_only: bool = False

    @property
    def tells_value(self) -> bool:
        return self.with_value

    def version_needed(self) -> int:
        return super().version_needed() if self.with_value else CONDITIONS_SINCE

    def change(self, records: Records, old: bytes | None) -> Deleted | Missing:
        """Raises NotText; nothing is changed then."""
        if old is None:
            return Missing()
        record = decode(old)
        if self.text_only and not is_text(record.value):
            raise NotText("the value is not UTF-8 text: delete it by /v1/kv?key=…")
        revision = records.next_revision()
        records.delete(self.key, revision)
        return Deleted(record.value if self.with_value else b"", record.content_type, revision)
