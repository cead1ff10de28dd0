"""Answers that are made while they are sent: exports and watches.

Nothing is made for a client that does not read: the server takes the next piece when the one before has mostly left. A client
that has gone is noticed by its disconnecting, for what is written to nobody seems to be taken at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NamedTuple

from serve_app.http.downloads import ALWAYS, CHUNK_BYTES, Send
from serve_app.http.problems import Headers

#: A client that takes nothing for this long is hung up on.
STALLED_S = 60.0


class StreamedAnswer(NamedTuple):
    """A good answer of unknown length. pieces: what is sent, and closed at the end whatever that is; what it raises breaks
    the answer off, so that its client sees that it is not whole."""

    pieces: AsyncIterator[bytes]
    content_type: bytes
    headers: Headers = []  # noqa: RUF012 - a constant


async def send_stream(send: Send, receive: Callable[[], Awaitable[dict[str, Any]]], answer: StreamedAnswer) -> None:
    """Send it to its end, or until its client has gone."""
    gone = asyncio.ensure_future(_disconnected(receive))
    sending = asyncio.ensure_future(_send(send, answer))
    try:
        await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
        if sending.cancelled():
            raise TimeoutError(f"the client took nothing for {STALLED_S:.0f} s")
        if sending.done():
            sending.result()
    finally:
        for task in (gone, sending):
            task.cancel()
        await asyncio.gather(gone, sending, return_exceptions=True)


async def _send(send: Send, answer: StreamedAnswer) -> None:
    headers = [(b"content-type", answer.content_type), *ALWAYS, *answer.headers]
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None, "it is a task of its own"
    async with aclosing(answer.pieces) as pieces:  # type: ignore[type-var]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for piece in pieces:
            # Little by little: the server keeps a copy of what its client has not taken, and who watches the same shares the
            # piece itself.
            for start in range(0, len(piece), CHUNK_BYTES):
                chunk = piece[start : start + CHUNK_BYTES]
                # A plain timer: with a hundred watches each piece is sent a hundred times, and asyncio.timeout was a sixth of
                # that.
                stalled = loop.call_later(STALLED_S, task.cancel)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                stalled.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
