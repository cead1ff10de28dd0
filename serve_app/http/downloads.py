"""Sending answers, with a limit on the large ones that clients are still reading.

The server buffers what it is handed until the client takes it, so a large answer goes out in chunks: each is handed over
once the one before has mostly left, which shows who reads and keeps all but the last chunk out of the server's buffers.
When too much is being read at once, an answer whose client has stopped reading gives way; where all of them make progress,
the new one is refused instead.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from serve_app.errors import Unavailable
from serve_app.http.answer import HttpAnswer
from serve_app.settings import Limits

Send = Callable[[dict[str, Any]], Awaitable[None]]

#: Answers from this size on count against `limits.max_response_bytes`.
LARGE_BYTES = 64 * 1024
CHUNK_BYTES = 128 * 1024
#: What every answer says. `nosniff`: it is what its type says, and never a script for another site's page (Fetch Standard,
#: 2.2). `no-store`: what a key holds now is not to be answered from a cache later, nor kept on a disk.
ALWAYS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"), (b"cloud-storage", b"1"))
#: They have no body, and say nothing of one (RFC 9110, 8.6).
_WITHOUT_LENGTH = frozenset({204, 304})
#: An answer of which nothing was taken for this long has to give way where room is needed.
STALLED_S = 1.0


class _Download:
    __slots__ = ("progress_s", "size", "stopped", "task")

    def __init__(self, task: asyncio.Task[Any], size: int, now_s: float) -> None:
        self.task = task
        self.size = size
        self.progress_s = now_s
        self.stopped = False


class Downloads:
    """The large answers being sent by one directory."""

    def __init__(self, limits: Limits) -> None:
        self._max_bytes = limits.max_response_bytes
        # In the order in which they last made progress: the first is the most stalled.
        self._unfinished: OrderedDict[_Download, None] = OrderedDict()
        self._bytes = 0

    async def send(self, send: Send, answer: HttpAnswer) -> None:
        """Send a large answer to its end, or break it off when it has to give way.

        Raises:
            Unavailable: there is no room for it. Nothing was sent. Only a repeatable answer is refused: a put or delete
                has happened by now.
        """
        task = asyncio.current_task()
        assert task is not None, "requests are handled in tasks"
        loop = asyncio.get_running_loop()
        size = len(answer.body)
        if not self._make_room(size, loop.time()) and answer.repeatable:
            raise Unavailable("too many large answers are being read; try again in a moment")
        download = _Download(task, size, loop.time())
        self._unfinished[download] = None
        self._bytes += size
        try:
            await send(head(answer))
            for start in range(0, size, CHUNK_BYTES):
                chunk = answer.body[start : start + CHUNK_BYTES]
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if not download.stopped:
                    download.progress_s = loop.time()
                    self._unfinished.move_to_end(download)
            await send({"type": "http.response.body", "body": b""})  # waits for the last chunk to leave
        except asyncio.CancelledError:
            if not download.stopped:
                raise
            task.uncancel()  # the server closes the connection of an answer that was not completed
        finally:
            self._forget(download)

    def _make_room(self, size: int, now_s: float) -> bool:
        """Stop stalled answers until there is room for `size` bytes; whether there is."""
        while self._unfinished and self._bytes + size > self._max_bytes:
            download = next(iter(self._unfinished))
            if now_s - download.progress_s < STALLED_S:
                return False
            download.stopped = True
            download.task.cancel()
            self._forget(download)
        return True

    def _forget(self, download: _Download) -> None:
        if download in self._unfinished:
            del self._unfinished[download]
            self._bytes -= download.size


def head(answer: HttpAnswer) -> dict[str, Any]:
    """The ASGI message that starts an answer."""
    headers = [*ALWAYS, *answer.headers]
    if answer.content_type:
        headers.append((b"content-type", answer.content_type))
    if answer.status not in _WITHOUT_LENGTH:
        headers.append((b"content-length", b"%d" % (len(answer.body) if answer.length is None else answer.length)))
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


def with_always(send: Send) -> Send:
    """A `send` for the app behind the front: adds to its answers what every answer says, where they don't say otherwise."""

    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            said = {name.lower() for name, _ in headers}
            message["headers"] = headers + [header for header in ALWAYS if header[0] not in said]
        await send(message)

    return sending


async def send_answer(send: Send, answer: HttpAnswer) -> None:
    """Send a whole answer as two ASGI messages."""
    await send(head(answer))
    await send({"type": "http.response.body", "body": answer.body})
