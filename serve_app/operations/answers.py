"""The answers to operations. Several operations may share one. Times are milliseconds since the Unix epoch."""

from __future__ import annotations

from serve_app.operations.body import Answer


class Value(Answer, tag=1):
    """A key's value, and its record's metadata. expires_ms: 0 where it never does. modified_ms: 0 where an earlier release
    answers, which does not say."""

    value: bytes
    content_type: str
    revision: int
    modified_ms: int = 0
    expires_ms: int = 0

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


class NotMet(Answer, tag=11):
    """The condition is not met, and nothing was changed. revision, modified_ms, expires_ms: of the record there is; a
    revision of 0 where there is none. unchanged: a reader has the very record already (RFC 9110, 15.4.5: 304)."""

    revision: int
    modified_ms: int = 0
    expires_ms: int = 0
    unchanged: bool = False


class Touched(Answer, tag=12):
    """The record expires at another time now; 0: never."""

    expires_ms: int
    revision: int


class Counted(Answer, tag=13):
    """The number that the record holds now."""

    value: int
    revision: int
