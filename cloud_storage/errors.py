"""What can go wrong, as one tree:

StoreError                  whatever this package raises for a request
├── Refused                 nothing was changed, and nothing will be
│   ├── InvalidRequest      it can't be meant: a key, a value's type, a parameter
│   ├── Unauthorized        no token that the store takes was shown
│   ├── Forbidden           the token is not for that
│   ├── ConditionFailed     the record has another revision, or there is one already (`revision`)
│   ├── NotANumber          an increment of what is no number, or beyond 64 bits
│   ├── ValueTooLarge       more than the store takes, or answers with, at once
│   ├── DiskFull            the key's bucket has no room
│   ├── Unavailable         the store did not take it before the deadline
│   └── Incompatible        of `serve_app.connect`: the store is of another release, which speaks otherwise
├── OutcomeUnknown          a write was sent, and nobody knows whether it happened: there was no answer before the deadline
├── HistoryLost             a watch asks for what the store does not know any more: list, and watch from now on
├── Interrupted             an export, or a watch that the store has dropped, ended before it was whole
└── SomeFailed              of many keys at once, some: `errors` says which, and why
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class StoreError(Exception):
    """See the module."""


class Refused(StoreError):
    """Nothing was changed."""


class InvalidRequest(Refused):
    """It can't be meant."""


class Unauthorized(Refused):
    """No token that the store takes was shown."""


class Forbidden(Refused):
    """The token is not for that."""


class ConditionFailed(Refused):
    """The record is not as the request wants it. revision: what it has; 0 where there is none, or that was not told."""

    def __init__(self, message: str, revision: int = 0) -> None:
        super().__init__(message)
        self.revision = revision

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.revision)  # tasks of Ray pickle what they raise


class NotANumber(Refused):
    """An increment of what is no number, or beyond 64 bits."""


class ValueTooLarge(Refused):
    """More than the store takes, or answers with, at once."""


class DiskFull(Refused):
    """The key's bucket has no room. Reads and deletes go on."""


class Unavailable(Refused):
    """The store did not take it before the deadline."""


class Incompatible(Refused):
    """The store is of another release, with which this one can't speak."""


class OutcomeUnknown(StoreError):
    """A write may have happened: there was no answer before the deadline."""


class HistoryLost(StoreError):
    """What a watch is to go on from is not known any more."""


class Interrupted(StoreError):
    """What was being read ended before it was whole."""


class SomeFailed(StoreError):
    """Of many keys some failed; all others are done. errors: by key."""

    def __init__(self, errors: Mapping[str, StoreError]) -> None:
        key, error = next(iter(errors.items()))
        super().__init__(f"{len(errors):,} of the keys failed; the first is {key!r}: {error}")
        self.errors = dict(errors)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,)
