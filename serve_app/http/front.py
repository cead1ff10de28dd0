"""The ASGI front: answers put, get and delete itself and hands everything else to the FastAPI app behind it.

FastAPI's routing, parameter models and response classes cost more than all that the store itself does for a request
(measured: docs/performance.md), and these three routes need none of them. The FastAPI app declares the same routes, calling
the same functions, so the docs page and the OpenAPI document are about what really runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from serve_app import events
from serve_app.errors import InvalidRequest, StoreError, Unavailable
from serve_app.http import problems
from serve_app.http.downloads import LARGE_BYTES, Downloads, Send, send_answer, with_always
from serve_app.http.hosts import Hosts
from serve_app.http.operations import Answer, Operations, key_of
from serve_app.http.requests import Scope, has_body
from serve_app.http.uploads import ClientGone, Receive
from serve_app.settings import Limits

Handler = Callable[[Scope, Receive], Awaitable[Answer]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
#: Says nothing of which hosts there are: whoever asks may be a page that looks for them.
_WRONG_HOST = Answer(
    421,
    problems.answer_to_status(
        421, "this store does not answer to the host that the request names (args.allowed_hosts)"
    ),
    problems.CONTENT_TYPE,
)


class Front:
    """The ASGI application that Serve runs."""

    def __init__(self, app: AsgiApp, operations: Operations, limits: Limits, hosts: Hosts | None = None) -> None:
        """hosts: which ones requests may name; all where None."""
        self._app = app
        self._hosts = None if hosts is None or hosts.all else hosts
        self._operations = operations
        self._downloads = Downloads(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._hosts is not None and not self._hosts.take(scope):
            await send_answer(send, _WRONG_HOST)
            return
        handler = self._route(scope)
        if handler is None:
            await self._app(scope, receive, with_always(send))
            return
        try:
            answer = await handler(scope, receive)
        except ClientGone:
            return
        except Exception as error:
            answer = answer_to_error(error)
        if len(answer.body) < LARGE_BYTES:
            await send_answer(send, answer)
            return
        try:
            await self._downloads.send(send, answer)
        except Unavailable as error:
            await send_answer(send, answer_to_error(error))

    def _route(self, scope: Scope) -> Handler | None:
        method = scope["method"]
        path: bytes = scope["raw_path"]
        root_path = scope.get("root_path", "")
        if root_path:
            path = path.removeprefix(root_path.encode())
        if method in ("GET", "DELETE") and has_body(scope):
            return _refuse_body
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


async def _refuse_body(scope: Scope, receive: Receive) -> Answer:
    """Answer at once: Serve would take the body into memory, however long, for as long as the request lasts."""
    raise InvalidRequest(f"a {scope['method']} takes no body")


def answer_to_error(error: Exception) -> Answer:
    """The problem document for whatever a handler raised. A bug's traceback goes to the log, not to the client."""
    if isinstance(error, StoreError):
        status, body, headers = problems.answer_to(error)
        return Answer(status, body, problems.CONTENT_TYPE, headers)
    events.error("request failed", exc_info=error)
    body = problems.answer_to_status(500, "the store made a mistake; a write may have happened. The log says more")
    return Answer(500, body, problems.CONTENT_TYPE)
