"""What watches are told of: the changes of a bucket's records, as they are in its feed and on the data plane."""

from __future__ import annotations

from typing import NamedTuple

PUT, DELETE, EXPIRE, TAKEN = 0, 1, 2, 3
#: What watches are told of, as they are told it.
NAMES = {PUT: "put", DELETE: "delete", EXPIRE: "expire"}
_TAG_CHARACTERS = 8


def tag_of(identity: str) -> str:
    """What tells a storage, or a store, from another where all of its identity would be too long."""
    return identity[:_TAG_CHARACTERS].ljust(_TAG_CHARACTERS, "0")


class Change(NamedTuple):
    """One change of a record by a client or by its expiry; or that a window of another bucket was taken in.

    kind: PUT, DELETE, EXPIRE or TAKEN. revision: the change's own. source, reached (TAKEN alone): the bucket that the window
    came from, and its revision when it sent it: what happened to the window's keys before is in that bucket's feed, up to
    there; the key is the tag of that bucket's storage then.
    """

    kind: int
    key: bytes
    revision: int
    source: int = -1
    reached: int = 0
