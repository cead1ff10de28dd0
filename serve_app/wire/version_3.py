"""Version 3 of the data plane: what is the envelope's and what is the body's stand in one array, behind the body's tag.

    a call    [tag, call, timeout_ms, the body's fields ..., with `epoch` among them]
    a reply   [tag, call, the answer's fields ...]

To be deleted with the release that speaks version 5. It is slower than version 4, which is spoken by peers that both know it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from serve_app.wire.frames import encode_frame
from serve_app.wire.messages import Envelope, Reply

#: More than any message has.
_MAX_FIELDS = 64
# Fields are put together anew as they are, and read by their types: of what nobody reads nothing is made, however much it is.
_fields = msgspec.msgpack.Decoder(Annotated[list[msgspec.Raw], msgspec.Meta(max_length=_MAX_FIELDS)]).decode
_tag = msgspec.msgpack.Decoder(int).decode
_encode = msgspec.msgpack.Encoder().encode
_envelope = msgspec.msgpack.Decoder(Envelope).decode
_reply = msgspec.msgpack.Decoder(Reply).decode
_NO_EPOCH = msgspec.Raw(_encode(0))
#: Where a call's array has its epoch, by the body's tag: an operation's and Inspect's at its end, with a default of 0.
_EPOCH_AT = {1: 4, 2: 6, 3: 4, 4: 5, 7: 3}


def encode_call(envelope: Envelope) -> bytearray:
    """Only bodies that version 3 had can be sent."""
    tag, *fields = msgspec.to_builtins(envelope.body, builtin_types=(bytes,))
    frame = [tag, envelope.call, envelope.timeout_ms, *fields]
    if tag in _EPOCH_AT:
        frame.insert(_EPOCH_AT[tag], envelope.epoch)
    return encode_frame(frame)


def decode_call(payload: memoryview) -> Envelope:
    """Raises what `FrameReader` expects."""
    tag, call, timeout_ms, *_ = frame = _array(payload, 3)
    at = _EPOCH_AT.get(_tag(tag))
    epoch = frame.pop(at) if at is not None and at < len(frame) else _NO_EPOCH
    return _envelope(_encode([call, timeout_ms, epoch, [tag, *frame[3:]]]))


def encode_reply(reply: Reply) -> bytearray:
    tag, *fields = msgspec.to_builtins(reply.answer, builtin_types=(bytes,))
    return encode_frame([tag, reply.call, *fields])


def decode_reply(payload: memoryview) -> Reply:
    """Raises what `FrameReader` expects."""
    tag, call, *fields = _array(payload, 2)
    return _reply(_encode([call, [tag, *fields]]))


def _array(payload: memoryview, at_least: int) -> list[msgspec.Raw]:
    frame: list[msgspec.Raw] = _fields(payload)
    if len(frame) < at_least:
        raise ValueError("not an array with a tag and a call")
    return frame
