"""The answers to operations. Several operations may share one."""

from __future__ import annotations

from serve_app.operations.body import Answer


class Value(Answer, tag=1):
    """A key's value, its content type, and the revision of the write that stored it."""

    value: bytes
    content_type: str
    revision: int

    @property
    def payload_bytes(self) -> int:
        return len(self.value)


class Missing(Answer, tag=2):
    """No record has the key, so there was nothing to do."""


class Written(Answer, tag=3):
    """The record is on disk. created: no record had the key before."""

    created: bool
    revision: int


class Deleted(Answer, tag=4):
    """The record that was deleted; revision is that of the deletion."""

    value: bytes
    content_type: str
    revision: int

    @property
    def payload_bytes(self) -> int:
        return len(self.value)
