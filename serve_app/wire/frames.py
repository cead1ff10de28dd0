"""Frames: a 4-byte big-endian length, then that many bytes of msgpack.

`FrameReader` takes bytes in any split and yields whole messages; it never holds more than one frame over the limit's worth
of bytes, because a length over the limit is refused before its payload is waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from serve_app.record_bounds import MAX_VALUE_BYTES

LENGTH_BYTES = 4
#: The longest frame. A part of the protocol and not of the configuration: a record stored before a limit was lowered must
#: still travel. What a message has beside its value fits 64 KiB many times over.
MAX_FRAME_BYTES = MAX_VALUE_BYTES + 64 * 1024
#: The longest first frame: nobody who has not shown the token gets more of the peer's memory.
MAX_HELLO_BYTES = 4096
T = TypeVar("T")
Decode = Callable[[memoryview], T]

_encoder = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """The peer sent what is not a frame of ours: the connection can't be used further."""


class FrameTooLong(FrameError):
    """A frame's length is over the limit."""


def encode_frame(message: object) -> bytearray:
    """One message as a whole frame, ready to be written."""
    frame = bytearray(LENGTH_BYTES)
    _encoder.encode_into(message, frame, LENGTH_BYTES)
    frame[:LENGTH_BYTES] = (len(frame) - LENGTH_BYTES).to_bytes(LENGTH_BYTES, "big")
    return frame


class FrameReader(Generic[T]):
    """Cuts a byte stream into decoded messages. `decode` may be changed between two of them, as a handshake does."""

    def __init__(self, decode: Decode[T], max_frame_bytes: int) -> None:
        self.decode = decode
        self.max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._position = 0

    @property
    def buffered_bytes(self) -> int:
        """Bytes received and not yet read."""
        return len(self._buffer) - self._position

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        if self._position:
            del self._buffer[: self._position]
            self._position = 0
        self._buffer += data

    def next(self) -> T | None:
        """The next whole message, or None until more bytes are fed.

        Raises:
            FrameTooLong: the next frame's length is over the limit.
            FrameError: its payload is no message that `decode` knows.
        """
        start = self._position + LENGTH_BYTES
        if len(self._buffer) < start:
            return None
        length = int.from_bytes(self._buffer[self._position : start], "big")
        if length > self.max_frame_bytes:
            raise FrameTooLong(f"a frame of {length:,} bytes; the limit is {self.max_frame_bytes:,}")
        end = start + length
        if len(self._buffer) < end:
            return None
        try:
            with memoryview(self._buffer) as view:
                message = self.decode(view[start:end])
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            # ValidationError is a DecodeError; Topology raises ValueError; a field that we don't know may be nested deeply.
            raise FrameError(f"a frame that is no message: {error}") from None
        self._position = end
        if end == len(self._buffer):
            self._buffer.clear()
            self._position = 0
        return message
