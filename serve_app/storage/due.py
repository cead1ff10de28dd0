"""What is to be deleted when its time has come: records that expire, and outcomes that need not be remembered any longer.

An index in the order of time, kept in the facts with the batch of whatever it names. `group.py` keeps it, so no operation can
forget it; `bucket/expiry.py` goes by it.

    bucket.due/ + u64 milliseconds since the Unix epoch, big-endian + one byte for the kind + a key or the name of an outcome
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

PREFIX = b"bucket.due/"
_TIME = slice(len(PREFIX), len(PREFIX) + 8)
_KIND = len(PREFIX) + 8
Kind = Literal[0, 1]
RECORD: Final = 0
OUTCOME: Final = 1


class Due(NamedTuple):
    """name: a record's key, or the name of an outcome (`outcomes.name_of`)."""

    at_ms: int
    kind: int
    name: bytes


def due_name(at_ms: int, kind: Kind, name: bytes) -> bytes:
    """The name of the fact."""
    return b"%b%b%c%b" % (PREFIX, at_ms.to_bytes(8, "big"), kind, name)


def parse(fact: bytes) -> Due:
    """What a fact's name says; it begins with `PREFIX`."""
    return Due(int.from_bytes(fact[_TIME], "big"), fact[_KIND], fact[_KIND + 1 :])


def bounds(from_ms: int, to_ms: int) -> tuple[bytes, bytes]:
    """The range of names of what is due at `from_ms` or later, and no later than `to_ms`."""
    return PREFIX + from_ms.to_bytes(8, "big"), PREFIX + (to_ms + 1).to_bytes(8, "big")
