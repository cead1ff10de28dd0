"""Request bodies: read with a limit on each and on all of them together.

A body that stops arriving must not keep others out: there is room for a bounded number of unfinished bodies, and when one
more comes, the one that has been still for longest gives way. A body that brings nothing for `upload_stall_s` is ended
anyway.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from serve_app.errors import InvalidRequest, UploadTimeout, ValueTooLarge
from serve_app.http.requests import Scope, header
from serve_app.settings import Limits

_SWEEP_S = 0.25
_MAX_LENGTH_DIGITS = 20
Receive = Callable[[], Awaitable[dict[str, Any]]]


class ClientGone(Exception):
    """The client went away before its request was complete; there is nobody to answer."""


class _Upload:
    __slots__ = ("progress_s", "size", "stop_reason", "task")

    def __init__(self, task: asyncio.Task[Any], now_s: float) -> None:
        self.task = task
        self.size = 0
        self.progress_s = now_s
        self.stop_reason = ""


class Uploads:
    """The bodies being read by one directory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # In the order in which they last made progress: the first is the most stalled.
        self._unfinished: OrderedDict[_Upload, None] = OrderedDict()
        self._bytes = 0
        self._sweeping = False

    async def read(self, scope: Scope, receive: Receive, max_bytes: int = 0) -> bytes:
        """The whole body. max_bytes: how long it may be; as long as a value, by default.

        Raises:
            ValueTooLarge: by its length header, or as soon as what has come is too long.
            UploadTimeout: it stopped arriving, or gave way to others.
            InvalidRequest: its length header is not a number.
            ClientGone: the client disconnected.
        """
        length = header(scope, b"content-length")
        if length is not None:
            self.check_size(_length(length), max_bytes)
        task = asyncio.current_task()
        assert task is not None, "requests are handled in tasks"
        loop = asyncio.get_running_loop()
        upload = self._begin(task)
        chunks: list[bytes] = []
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                chunk = message.get("body", b"")
                if chunk:
                    self.check_size(upload.size + len(chunk), max_bytes)
                    self._grow(upload, len(chunk), loop.time())
                    chunks.append(chunk)
                if upload.stop_reason:  # it stopped itself: no other was left to give way
                    await asyncio.sleep(0)  # where the cancellation arrives
                if not message.get("more_body", False):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except asyncio.CancelledError:
            if not upload.stop_reason:
                raise
            task.uncancel()
            raise UploadTimeout(f"{upload.stop_reason}; nothing was stored") from None
        finally:
            self._forget(upload)

    async def next_chunk(self, receive: Receive, held_bytes: int = 0) -> tuple[bytes, bool]:
        """The next piece of a body of any length, and whether there is more. While what came is worked on, nothing is waited
        for, so nothing stalls. held_bytes: of what came before, what is kept until more comes: they take room like a body's.

        Raises:
            UploadTimeout: it stopped arriving, or gave way to others.
            ClientGone: the client disconnected.
        """
        task = asyncio.current_task()
        assert task is not None, "requests are handled in tasks"
        upload = self._begin(task)
        try:
            if held_bytes:
                self._grow(upload, held_bytes, upload.progress_s)
            message = await receive()
            if upload.stop_reason:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not upload.stop_reason:
                raise
            task.uncancel()
            raise UploadTimeout(upload.stop_reason) from None
        finally:
            self._forget(upload)
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)

    def _begin(self, task: asyncio.Task[Any]) -> _Upload:
        """Wait for a body, with the others."""
        loop = asyncio.get_running_loop()
        upload = _Upload(task, loop.time())
        self._unfinished[upload] = None
        if len(self._unfinished) > self._limits.max_uploads:
            self._stop_most_stalled()
        self._sweep_later(loop)
        return upload

    def check_size(self, size: int, max_bytes: int = 0) -> None:
        """Refuse a value, or a body of another kind that has at most `max_bytes`, that is too long.

        Raises:
            ValueTooLarge: it is.
        """
        if max_bytes and size > max_bytes:
            raise ValueTooLarge(
                f"the body of this request has at most {max_bytes:,} bytes; this one has {size:,} or more"
            )
        if not max_bytes and size > self._limits.max_value_bytes:
            raise ValueTooLarge(
                f"a value has at most {self._limits.max_value_bytes:,} bytes; this one has {size:,} or more"
            )

    def _grow(self, upload: _Upload, more: int, now_s: float) -> None:
        """Count bytes that came, and make room for them where there is none."""
        upload.size += more
        upload.progress_s = now_s
        self._bytes += more
        self._unfinished.move_to_end(upload)
        while self._bytes > self._limits.max_upload_bytes:
            self._stop_most_stalled()

    def _stop_most_stalled(self) -> None:
        self._stop(
            next(iter(self._unfinished)),
            "more request bodies were arriving than can be held, and this one stood still for longest",
        )

    def _stop(self, upload: _Upload, reason: str) -> None:
        # As asyncio.timeout does it: cancel the task where it waits, and turn that into an error of our own there.
        upload.stop_reason = reason
        upload.task.cancel()
        self._forget(upload)  # now, not when it has unwound: room is counted once

    def _forget(self, upload: _Upload) -> None:
        if upload in self._unfinished:
            del self._unfinished[upload]
            self._bytes -= upload.size

    def _sweep_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(_SWEEP_S, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop what has stood still for too long. Runs only while bodies are arriving."""
        self._sweeping = False
        late_s = loop.time() - self._limits.upload_stall_s
        while self._unfinished and (upload := next(iter(self._unfinished))).progress_s <= late_s:
            self._stop(upload, f"no more of the body came for {self._limits.upload_stall_s:g} s")
        if self._unfinished:
            self._sweep_later(loop)


def _length(raw: bytes) -> int:
    if not raw.isdigit() or len(raw) > _MAX_LENGTH_DIGITS:
        raise InvalidRequest("the Content-Length header is not a number of bytes")
    return int(raw)
