"""A straight way for what clients send most: `GET key` and `SET key value`, where nobody needs a token.

They end in the same operations and the same answers as by their handlers (`strings.py`); only the way there makes fewer
objects, which is most of what a command in a pipeline costs. Whatever is not quite that goes the other way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from serve_app.errors import StoreError
from serve_app.operations import Get, Operation, Put, Value
from serve_app.operations.increment import CONTENT_TYPE as TEXT
from serve_app.record_bounds import MAX_KEY_BYTES
from serve_app.redis import replies

#: Makes the answer to one operation.
Reply = Callable[[Any], bytes]


def operation_of(words: list[bytes], max_value_bytes: int) -> Operation[Any] | None:
    """What such a command asks for; None where it is another one."""
    name = words[0]
    if name == b"GET" or name == b"get":
        if len(words) == 2 and 0 < len(key := words[1]) <= MAX_KEY_BYTES and key.isascii():
            return Get(key)
    elif (
        (name == b"SET" or name == b"set")
        and len(words) == 3
        and 0 < len(key := words[1]) <= MAX_KEY_BYTES
        and key.isascii()
        and len(value := words[2]) <= max_value_bytes
        and value.isascii()
    ):
        return Put(key, value, TEXT)
    return None


def reply_to(operation: Operation[Any], resp3: bool) -> Reply:
    """What makes the answer to it."""
    if operation.writes:
        return _stored
    return _value3 if resp3 else _value2


def _stored(outcome: Any) -> bytes:
    return replies.of_error(outcome) if isinstance(outcome, StoreError) else replies.OK


def _value2(outcome: Any) -> bytes:
    if type(outcome) is Value:
        value = outcome.value
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return replies.of_error(outcome) if isinstance(outcome, StoreError) else replies.NIL2


def _value3(outcome: Any) -> bytes:
    return replies.NIL3 if not isinstance(outcome, StoreError | Value) else _value2(outcome)
