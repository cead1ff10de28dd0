"""Answers that are made while they are sent: in chunks, to their end, and ended with their clients."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from serve_app.auth.access import OPEN
from serve_app.directory.listing import Page, Question
from serve_app.errors import Unavailable
from serve_app.http import streams
from serve_app.http.downloads import CHUNK_BYTES
from serve_app.http.streams import Large, Piece, StreamedAnswer, Streams
from serve_app.http.v1.transfer import MAX_EXPORTS, Transfer
from serve_app.settings import MIB
from tests.support.asgi_client import request
from tests.support.fake_directory import FakeDirectory, http_on
from tests.support.local_store import run_async


class Ends:
    """Pieces, and whether their maker was closed."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.closed = False

    async def __call__(self) -> AsyncIterator[bytes]:
        try:
            for piece in self._pieces:
                yield piece
        finally:
            self.closed = True


class Leaving:
    """A client that goes when the first piece is sent to it, and takes nothing of that."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            self._gone.set()
            await asyncio.Future()


async def never() -> dict[str, Any]:
    return await asyncio.Future()


@run_async
async def test_a_large_piece_leaves_in_chunks() -> None:
    """The server copies what it is handed and its client has not taken."""
    sent: list[dict[str, Any]] = []
    pieces = Ends(b"a" * (2 * CHUNK_BYTES + 1), b"b")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await Streams(MIB).send(send, never, StreamedAnswer(pieces(), b"text/plain"))
    bodies = [message["body"] for message in sent[1:]]
    assert [len(body) for body in bodies] == [CHUNK_BYTES, CHUNK_BYTES, 1, 1, 0]
    assert [message.get("more_body", False) for message in sent[1:]] == [True, True, True, True, False]
    assert pieces.closed


@run_async
async def test_a_client_that_takes_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STALLED_S", 0.01)
    pieces = Ends(b"a", b"b")

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await never()

    with pytest.raises(TimeoutError, match="took nothing"):
        await Streams(MIB).send(send, never, StreamedAnswer(pieces(), b"text/plain"))
    assert pieces.closed


@run_async
async def test_a_client_that_goes_ends_what_is_made_for_it() -> None:
    pieces = Ends(b"a", b"b")
    client = Leaving()
    await Streams(MIB).send(client.send, client.receive, StreamedAnswer(pieces(), b"text/plain"))
    assert pieces.closed


@run_async
async def test_what_a_client_that_left_was_being_sent_is_not_kept() -> None:
    """The task that was ended kept it: its error's traceback held its frame, and that the task."""
    gc.disable()  # as good as: a directory looks at old objects hardly ever
    try:
        freed: list[bool] = []
        piece: Piece | None = Traced(bytes(MIB))
        Traced.freed = freed
        client = Leaving()

        async def pieces(piece: Any) -> AsyncIterator[Piece]:
            yield piece

        await Streams(MIB).send(client.send, client.receive, StreamedAnswer(pieces(piece), b"text/plain"))
        piece = None
        await asyncio.sleep(0)  # until here the loop is in the step that told of the end
        assert freed
    finally:
        gc.enable()


class Traced(bytes):
    """It can be seen to be gone."""

    freed: ClassVar[list[bool]] = []

    def __del__(self) -> None:
        self.freed.append(True)


class Reader:
    """A client: it takes pieces while `reads`."""

    def __init__(self, streams: Streams, source: bytes) -> None:
        self.reads, self.handed = asyncio.Event(), asyncio.Event()
        self.taken = 0

        async def pieces() -> AsyncIterator[Piece]:
            yield Large(source, iter([source[:1000]] * 10))

        self.task = asyncio.ensure_future(streams.send(self._send, never, StreamedAnswer(pieces(), b"text/plain")))

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            self.handed.set()
            await self.reads.wait()
            self.taken += len(message["body"])


@run_async
async def test_what_streams_hold_is_bounded_and_who_has_taken_nothing_for_longest_gives_way() -> None:
    streams = Streams(2 * MIB)
    readers = []
    for _ in range(2):
        readers.append(Reader(streams, bytes(MIB)))
        await readers[-1].handed.wait()
    newest = Reader(streams, bytes(MIB))
    with pytest.raises(TimeoutError, match="others needed the room"):
        await readers[0].task
    assert not readers[1].task.done()
    for reader in (readers[1], newest):
        reader.reads.set()
        await reader.task
        assert reader.taken == 10_000
    assert streams._bytes == 0
    assert not streams._held


@run_async
async def test_what_many_streams_hold_together_is_counted_once() -> None:
    streams, source = Streams(2 * MIB), bytes(2 * MIB)
    readers = [Reader(streams, source) for _ in range(50)]
    await asyncio.sleep(0)
    for reader in readers:
        reader.reads.set()
        await reader.task
    assert streams._bytes == 0


class Listing:
    async def page(self, asked: Question) -> Page:
        return Page([], [], None)


@run_async
async def test_exports_are_bounded_and_one_that_ends_makes_room() -> None:
    directory: Any = FakeDirectory()
    directory.listing = Listing()
    transfer = Transfer(directory, None)  # type: ignore[arg-type]
    scope = {"query_string": b"", "headers": [], "cloud_storage.access": OPEN}

    async def export() -> StreamedAnswer:
        return await transfer.export(scope, never)

    open_ones = [await export() for _ in range(MAX_EXPORTS)]
    with pytest.raises(Unavailable):
        await export()
    await open_ones[0].pieces.aclose()  # type: ignore[attr-defined]
    last = await export()
    assert [piece async for piece in last.pieces] == [b'{"exported":0}\n']


def test_an_export_is_whole_where_its_last_line_says_so() -> None:
    directory: Any = FakeDirectory()
    directory.listing = Listing()
    assert request(http_on(directory), "GET", b"/v1/export").body == b'{"exported":0}\n'
