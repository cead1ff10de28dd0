"""Frames against arbitrary bytes and splits."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app import operations
from serve_app.topology import Topology
from serve_app.wire import messages
from serve_app.wire.frames import FrameError, FrameReader, FrameTooLong, encode_frame

LIMIT = 1 << 16

calls = st.integers(0, 2**63 - 1)
texts = st.text(max_size=30)
blobs = st.binary(max_size=300)
topologies = st.integers(1, 8).map(lambda n: Topology(n, n, n, "store", tuple(f"id{i}" for i in range(n))))
requests = st.one_of(
    st.builds(messages.Hello, calls, texts, calls, texts),
    st.builds(operations.Get, calls, calls, blobs),
    st.builds(operations.Put, calls, calls, blobs, blobs, texts),
    st.builds(operations.Delete, calls, calls, blobs),
    st.builds(messages.Inspect, calls, calls),
    st.builds(messages.Install, calls, calls, topologies),
    st.builds(messages.Establish, calls, calls, st.lists(texts).map(tuple)),
)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def read_all(reader: FrameReader[messages.Envelope], pieces: list[bytes]) -> list[messages.Envelope]:
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (message := reader.next()) is not None:
            found.append(message)
    return found


@given(st.lists(requests, max_size=10), st.lists(st.integers(0, 10_000), max_size=20))
def test_messages_survive_any_split(sent: list[messages.Envelope], cuts: list[int]) -> None:
    reader: FrameReader[messages.Envelope] = FrameReader(messages.Envelope, LIMIT)
    stream = b"".join(bytes(encode_frame(message)) for message in sent)
    assert read_all(reader, split(stream, cuts)) == sent
    assert reader.buffered_bytes == 0


@given(st.binary(max_size=500), st.lists(st.integers(0, 500), max_size=5))
def test_arbitrary_bytes_are_messages_or_a_frame_error(data: bytes, cuts: list[int]) -> None:
    reader: FrameReader[messages.Envelope] = FrameReader(messages.Envelope, LIMIT)
    try:
        for message in read_all(reader, split(data, cuts)):
            assert isinstance(message, msgspec.Struct)
    except FrameError:
        pass
    assert reader.buffered_bytes <= len(data)


@given(requests, st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_is_a_message_or_a_frame_error(message: messages.Envelope, at: int, byte: int) -> None:
    frame = encode_frame(message)
    frame[at % len(frame)] = byte
    reader: FrameReader[messages.Envelope] = FrameReader(messages.Envelope, LIMIT)
    try:
        read_all(reader, [bytes(frame)])
    except FrameError:
        pass


def test_a_frame_over_the_limit_is_refused_before_its_payload() -> None:
    reader: FrameReader[messages.Envelope] = FrameReader(messages.Envelope, LIMIT)
    reader.feed((LIMIT + 1).to_bytes(4, "big"))
    with pytest.raises(FrameTooLong, match="65,537"):
        reader.next()


def test_a_frame_at_the_limit_is_taken() -> None:
    reader: FrameReader[messages.Envelope] = FrameReader(messages.Envelope, LIMIT)
    room = LIMIT - (len(encode_frame(messages.Envelope(1, 1, 0, operations.Get(b"x" * 60_000)))) - 4 - 60_000)
    message = messages.Envelope(1, 1, 0, operations.Get(b"x" * room))
    assert len(encode_frame(message)) == LIMIT + 4
    assert read_all(reader, [bytes(encode_frame(message))]) == [message]
