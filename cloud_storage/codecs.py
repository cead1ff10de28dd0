"""How values are written for a mapping: text, JSON, msgpack, or pickle."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

V = TypeVar("V")


class Codec(NamedTuple, Generic[V]):
    """encode, decode: to bytes and back. content_type: what values are stored as."""

    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]
    content_type: str


BYTES: Codec[bytes] = Codec(bytes, bytes, "application/octet-stream")
TEXT: Codec[str] = Codec(str.encode, bytes.decode, "text/plain; charset=utf-8")
JSON: Codec[Any] = Codec(
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), json.loads, "application/json"
)
MSGPACK: Codec[Any] = Codec(msgspec.msgpack.encode, msgspec.msgpack.decode, "application/msgpack")
#: For trusted data only: whoever can write a value can run any code where it is read.
PICKLE: Codec[Any] = Codec(pickle.dumps, pickle.loads, "application/x-python-pickle")
