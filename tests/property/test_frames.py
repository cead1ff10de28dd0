"""Frames against arbitrary bytes and splits, in every version."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.operations import Get
from serve_app.wire import versions
from serve_app.wire.frames import Decode, FrameError, FrameReader, FrameTooLong, encode_frame
from serve_app.wire.messages import Envelope, Reply
from tests.support.wire_messages import envelopes, hellos, replies, welcomes

LIMIT = 1 << 16
DECODERS: list[Decode[msgspec.Struct]] = [
    versions.decode_hello,
    versions.decode_welcome,
    *(codec.decode_call for codec in versions.CODECS.values()),
    *(codec.decode_reply for codec in versions.CODECS.values()),
]


class Kind:
    """One of the two ways that messages go, in one version."""

    def __init__(self, name: str, encode: Callable[[Any], bytearray], decode: Decode[Any], messages: Any) -> None:
        self.name, self.encode, self.decode, self.messages = name, encode, decode, messages

    def __repr__(self) -> str:
        return self.name


CODECS = versions.CODECS.items()
KINDS = [
    Kind("hello", encode_frame, versions.decode_hello, hellos),
    Kind("welcome", encode_frame, versions.decode_welcome, welcomes),
    *(Kind(f"calls-{version}", codec.encode_call, codec.decode_call, envelopes) for version, codec in CODECS),
    *(Kind(f"replies-{version}", codec.encode_reply, codec.decode_reply, replies) for version, codec in CODECS),
]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=repr)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def read_all(reader: FrameReader[Any], pieces: list[bytes]) -> list[Any]:
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (message := reader.next()) is not None:
            found.append(message)
    return found


@EVERY_KIND
@given(data=st.data(), cuts=st.lists(st.integers(0, 10_000), max_size=20))
def test_messages_survive_any_split(kind: Kind, data: st.DataObject, cuts: list[int]) -> None:
    sent = data.draw(st.lists(kind.messages, max_size=10))
    reader: FrameReader[Any] = FrameReader(kind.decode, LIMIT)
    stream = b"".join(bytes(kind.encode(message)) for message in sent)
    assert read_all(reader, split(stream, cuts)) == sent
    assert reader.buffered_bytes == 0


@pytest.mark.parametrize("decode", DECODERS)
@given(data=st.binary(max_size=500), cuts=st.lists(st.integers(0, 500), max_size=5))
def test_arbitrary_bytes_are_messages_or_a_frame_error(
    decode: Decode[msgspec.Struct], data: bytes, cuts: list[int]
) -> None:
    reader: FrameReader[Any] = FrameReader(decode, LIMIT)
    try:
        for message in read_all(reader, split(data, cuts)):
            assert isinstance(message, msgspec.Struct)
    except FrameError:
        pass
    assert reader.buffered_bytes <= len(data)


@EVERY_KIND
@given(data=st.data(), at=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_changed_byte_is_a_message_or_a_frame_error(kind: Kind, data: st.DataObject, at: int, byte: int) -> None:
    frame = kind.encode(data.draw(kind.messages))
    frame[at % len(frame)] = byte
    reader: FrameReader[Any] = FrameReader(kind.decode, LIMIT)
    try:
        for message in read_all(reader, [bytes(frame)]):
            assert isinstance(message, msgspec.Struct)
    except FrameError:
        pass


@pytest.mark.parametrize("decode", DECODERS)
def test_a_frame_over_the_limit_is_refused_before_its_payload(decode: Decode[msgspec.Struct]) -> None:
    reader: FrameReader[Any] = FrameReader(decode, LIMIT)
    reader.feed((LIMIT + 1).to_bytes(4, "big"))
    with pytest.raises(FrameTooLong, match="65,537"):
        reader.next()


@pytest.mark.parametrize("version", versions.CODECS)
def test_a_frame_at_the_limit_is_taken(version: int) -> None:
    codec = versions.CODECS[version]
    reader: FrameReader[Envelope | Reply] = FrameReader(codec.decode_call, LIMIT)
    room = LIMIT - (len(codec.encode_call(Envelope(1, 1, 0, Get(b"x" * 60_000)))) - 4 - 60_000)
    message = Envelope(1, 1, 0, Get(b"x" * room))
    assert len(codec.encode_call(message)) == LIMIT + 4
    assert read_all(reader, [bytes(codec.encode_call(message))]) == [message]
