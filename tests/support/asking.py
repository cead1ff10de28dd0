"""Asking a directory for single operations, where a test wants no more than what came of them."""

from __future__ import annotations

from serve_app import placement
from serve_app.directory.directory import Directory
from serve_app.operations import Delete, Deleted, Described, Get, Head, Put, Value, Written


async def get(directory: Directory, key: bytes) -> bytes | None:
    """The value, or None where no record has the key."""
    answer = (await directory.carry_out(Get(key))).answer
    return answer.value if isinstance(answer, Value) else None


async def put(directory: Directory, key: bytes, value: bytes, content_type: str = "") -> bool:
    """Whether the key is new."""
    answer = (await directory.carry_out(Put(key, value, content_type))).answer
    assert isinstance(answer, Written), "there is no condition"
    return answer.created


async def described(directory: Directory, key: bytes) -> int | None:
    """How many characters the value has, which are all ASCII and none escaped; None where no record has the key."""
    answer = (await directory.carry_out(Head(key))).answer
    return answer.json_bytes - len('""') if isinstance(answer, Described) else None


async def delete(directory: Directory, key: bytes) -> bytes | None:
    """The value that the record had, or None where no record had the key."""
    answer = (await directory.carry_out(Delete(key))).answer
    return answer.value if isinstance(answer, Deleted) else None


def keys_of(bucket_id: int, bucket_count: int = 2) -> list[bytes]:
    """Some keys whose home is that bucket."""
    keys = [b"key%d" % number for number in range(200)]
    return [key for key in keys if placement.bucket_of(key, bucket_count) == bucket_id]
