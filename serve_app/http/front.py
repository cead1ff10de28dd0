"""The ASGI front: answers put, get and delete itself and hands everything else to the FastAPI app behind it.

FastAPI's routing, parameter models and response classes cost more than the rest of a request together (measured:
docs/performance.md), and these three routes need none of them. The FastAPI app declares the same routes, calling the same
functions, so the docs page and the OpenAPI document are about what really runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from serve_app import events
from serve_app.errors import StoreError, Unavailable
from serve_app.http import problems
from serve_app.http.operations import Answer, Operations, key_of
from serve_app.http.requests import Scope
from serve_app.http.uploads import ClientGone, Receive
from serve_app.settings import Limits

Send = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Answers from this size on count against `limits.max_response_bytes`.
_LARGE_BYTES = 64 * 1024


class Front:
    """The ASGI application that Serve runs."""

    def __init__(self, app: AsgiApp, operations: Operations, limits: Limits) -> None:
        self._app = app
        self._operations = operations
        self._max_response_bytes = limits.max_response_bytes
        self._response_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._route(scope) if scope["type"] == "http" else None
        if handler is None:
            await self._app(scope, receive, send)
            return
        try:
            answer = await handler(scope, receive)
        except ClientGone:
            return
        except Exception as error:
            answer = answer_to_error(error)
        if len(answer.body) >= _LARGE_BYTES:
            await self._send_large(send, answer)
        else:
            await send_answer(send, answer)

    def _route(self, scope: Scope) -> Callable[[Scope, Receive], Awaitable[Answer]] | None:
        method = scope["method"]
        path: bytes = scope["raw_path"]
        root_path = scope.get("root_path", "")
        if root_path:
            path = path.removeprefix(root_path.encode())
        if method == "GET":
            return self._get if path == b"/get" or path.startswith(b"/get/") else None
        if method == "PUT":
            return self._operations.put if path == b"/put" else None
        if method == "DELETE":
            return self._delete if path == b"/delete" or path.startswith(b"/delete/") else None
        return None

    async def _get(self, scope: Scope, receive: Receive) -> Answer:
        return await self._operations.get(scope, key_of(scope, b"/get"))

    async def _delete(self, scope: Scope, receive: Receive) -> Answer:
        return await self._operations.delete(scope, key_of(scope, b"/delete"))

    async def _send_large(self, send: Send, answer: Answer) -> None:
        """Send a large answer, unless clients that read slowly hold too many already."""
        size = len(answer.body)
        too_many = self._response_bytes and self._response_bytes + size > self._max_response_bytes
        if too_many and answer.repeatable:  # a put or delete has happened by now, so it is answered whatever the size
            answer = answer_to_error(Unavailable("too many large answers are being read; try again in a moment"))
            size = len(answer.body)
        self._response_bytes += size
        try:
            await send_answer(send, answer)
        finally:
            self._response_bytes -= size


def answer_to_error(error: Exception) -> Answer:
    """The problem document for whatever a handler raised. A bug's traceback goes to the log, not to the client."""
    if isinstance(error, StoreError):
        status, body, headers = problems.answer_to(error)
        return Answer(status, body, problems.CONTENT_TYPE, headers)
    events.error("request failed", exc_info=error)
    body = problems.answer_to_status(500, "the store made a mistake; a write may have happened. The log says more")
    return Answer(500, body, problems.CONTENT_TYPE)


async def send_answer(send: Send, answer: Answer) -> None:
    """Send a whole answer as two ASGI messages."""
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (b"content-type", answer.content_type),
                (b"content-length", b"%d" % len(answer.body)),
                *answer.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": answer.body})
