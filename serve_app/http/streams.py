"""Answers that are made while they are sent: exports and watches.

Nothing is made for a client that does not read: the server takes the next piece when the one before has mostly left. A client
that has gone is noticed by its disconnecting, for what is written to nobody seems to be taken at once.

What streams hold while clients take it is counted where it is large, and once where many hold the same. Where that is too
much, streams are broken off, first those whose clients have taken nothing for longest.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, NamedTuple

from serve_app.http.downloads import ALWAYS, CHUNK_BYTES, LARGE_BYTES, Send
from serve_app.http.problems import Headers

#: A client that takes nothing for this long, and up to a quarter more, is hung up on.
STALLED_S = 60.0


class Large(NamedTuple):
    """A piece that is made of `source` bit by bit: who sends it holds `source` until it has been sent."""

    source: bytes
    bits: Iterator[bytes]


Piece = bytes | Large


class StreamedAnswer(NamedTuple):
    """A good answer of unknown length. pieces: what is sent, and closed at the end whatever that is; what it raises breaks
    the answer off, so that its client sees that it is not whole."""

    pieces: AsyncIterator[Piece]
    content_type: bytes
    headers: Headers = []  # noqa: RUF012 - a constant


class _Stream:
    """One that is being sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        #: Since when its client has not taken what it was handed; infinite while there is nothing to take.
        self.waiting_since_s = math.inf
        #: Done when others need the room.
        self.gave_way: asyncio.Future[None] = loop.create_future()

    def stalled_s(self) -> float:
        """How long its client has taken nothing of what there is."""
        return self._loop.time() - self.waiting_since_s


class Streams:
    """Those of one directory."""

    def __init__(self, max_bytes: int) -> None:
        """max_bytes: held by all of them for their clients; what one alone holds may be more."""
        self._max_bytes = max_bytes
        #: What is held, by its identity: how large it is, and by how many.
        self._held: dict[int, tuple[int, int]] = {}
        self._bytes = 0
        #: What each stream holds (one thing, if any), in the order in which their clients took something last: the first is
        #: the most stalled.
        self._holders: OrderedDict[_Stream, int] = OrderedDict()

    async def send(self, send: Send, receive: Callable[[], Awaitable[dict[str, Any]]], answer: StreamedAnswer) -> None:
        """Send an answer to its end, or until its client has gone.

        Raises:
            TimeoutError: its client took nothing for long, or for a while when others needed the room.
        """
        stream = _Stream(asyncio.get_running_loop())
        gone = asyncio.ensure_future(_disconnected(receive))
        sending = asyncio.ensure_future(self._send(send, answer, stream))
        watched = (gone, sending, stream.gave_way)
        try:
            while not any(each.done() for each in watched):
                # One timer for a stream, and none for what it sends: of a hundred watches each is sent each piece.
                await asyncio.wait(watched, timeout=STALLED_S / 4, return_when=asyncio.FIRST_COMPLETED)
                if not sending.done() and stream.stalled_s() >= STALLED_S:
                    raise TimeoutError(f"the client took nothing for {STALLED_S:.0f} s")
            if sending.done():
                sending.result()
            elif stream.gave_way.done():
                raise TimeoutError("the client was slow to take what it was sent, and others needed the room")
        finally:
            for task in watched:
                task.cancel()
            await asyncio.gather(*watched, return_exceptions=True)

    async def _send(self, send: Send, answer: StreamedAnswer, stream: _Stream) -> None:
        headers = [(b"content-type", answer.content_type), *ALWAYS, *answer.headers]

        async def hand_over(chunk: bytes) -> None:
            stream.waiting_since_s = asyncio.get_running_loop().time()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            stream.waiting_since_s = math.inf
            if stream in self._holders:
                self._holders.move_to_end(stream)

        async with aclosing(answer.pieces) as pieces:  # type: ignore[type-var]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for piece in pieces:
                if isinstance(piece, Large):
                    with self._holding(piece.source, stream):
                        for bit in piece.bits:
                            await hand_over(bit)
                            await asyncio.sleep(0)  # a client that reads is not waited for, and the next takes a while
                else:
                    # Little by little: the server keeps a copy of what its client has not taken, and who watches the same
                    # shares the piece itself.
                    with self._holding(piece, stream):
                        for start in range(0, len(piece), CHUNK_BYTES):
                            await hand_over(piece[start : start + CHUNK_BYTES])
                del piece  # it may be long until there is another one
        await send({"type": "http.response.body", "body": b""})

    @contextmanager
    def _holding(self, source: bytes, stream: _Stream) -> Iterator[None]:
        """Count what a stream holds, where it is large, and make room for it."""
        if len(source) < LARGE_BYTES:
            yield
            return
        identity = id(source)
        size, count = self._held.get(identity, (len(source), 0))
        if not count:
            self._bytes += size
        self._held[identity] = (size, count + 1)
        self._holders[stream] = identity
        self._make_room()
        try:
            yield
        finally:
            self._let_go(stream)

    def _make_room(self) -> None:
        """Break off the most stalled where there is too much, but for the last that has come."""
        while self._bytes > self._max_bytes and len(self._holders) > 1:
            stream = next(iter(self._holders))
            if not stream.gave_way.done():
                stream.gave_way.set_result(None)
            self._let_go(stream)  # now, not when it has unwound: room is counted once

    def _let_go(self, stream: _Stream) -> None:
        identity = self._holders.pop(stream, None)
        if identity is None:
            return  # it gave way
        size, count = self._held.pop(identity)
        if count > 1:
            self._held[identity] = (size, count - 1)
        else:
            self._bytes -= size


async def plain(pieces: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
    """The bytes of the pieces, for who counts nothing."""
    async with aclosing(pieces):  # type: ignore[type-var]
        async for piece in pieces:
            if isinstance(piece, Large):
                for bit in piece.bits:
                    yield bit
            else:
                yield piece


async def _disconnected(receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
