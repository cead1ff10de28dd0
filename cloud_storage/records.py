"""What the store tells: records, what was written, what is listed, and what has changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Record:
    """A value and what is known of it. revision: it grows with every write to the key, and is what conditions go by. expires:
    None where it stays."""

    key: str
    value: bytes
    revision: int
    content_type: str
    modified: datetime | None
    expires: datetime | None

    @property
    def text(self) -> str:
        """The value as text. Raises UnicodeDecodeError where it is not UTF-8."""
        return self.value.decode()


@dataclass(frozen=True, slots=True)
class Written:
    """What came of a write. created: whether there was no record before."""

    revision: int
    created: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """A name in a list: a key's, or, with `is_prefix`, what keys begin with that hold the delimiter. size: bytes of the
    value. value: where it was asked for."""

    name: str
    is_prefix: bool = False
    revision: int = 0
    size: int = 0
    content_type: str = ""
    modified: datetime | None = None
    expires: datetime | None = None
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One change. kind: put, delete or expire. value, content_type: of a put, where they were asked for. id: where a watch
    goes on that is to hear what comes after it; empty where a later event of those told together has it."""

    kind: str
    key: str
    revision: int
    value: bytes | None = None
    content_type: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """expired: left out, for their time had come."""

    imported: int
    expired: int
