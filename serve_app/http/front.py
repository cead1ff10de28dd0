"""The ASGI front: answers the routes of `routes.py` itself and hands everything else to the FastAPI app behind it.

FastAPI's routing, parameter models and response classes cost more than all that the store itself does for a request
(measured: docs/performance.md), and these routes need none of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from serve_app import events
from serve_app.auth.access import OPEN, grant
from serve_app.auth.gate import Gate
from serve_app.errors import InvalidRequest, StoreError, Unavailable
from serve_app.http import problems
from serve_app.http.answer import HttpAnswer
from serve_app.http.downloads import LARGE_BYTES, Downloads, Send, send_answer, with_always
from serve_app.http.hosts import Hosts, from_another_site
from serve_app.http.requests import Scope, has_body, local_path
from serve_app.http.routes import Handler, RouteTable
from serve_app.http.streams import StreamedAnswer, Streams
from serve_app.http.uploads import ClientGone, Receive
from serve_app.settings import Limits

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE"})
#: Says nothing of which hosts there are: whoever asks may be a page that looks for them.
_WRONG_HOST = HttpAnswer(
    421,
    problems.answer_to_status(
        421, "this store does not answer to the host that the request names (args.allowed_hosts)"
    ),
    problems.CONTENT_TYPE,
)
_ANOTHER_SITE = HttpAnswer(
    403,
    problems.answer_to_status(403, "a page of another site may not change anything here (its Origin is not this Host)"),
    problems.CONTENT_TYPE,
)


class Front:
    """The ASGI application that Serve runs."""

    def __init__(
        self, app: AsgiApp, routes: RouteTable, limits: Limits, hosts: Hosts | None = None, gate: Gate | None = None
    ) -> None:
        """hosts: which ones requests may name; all where None. gate: whose tokens are taken; nobody needs one where None."""
        self._app = app
        self._gate = gate
        self._hosts = None if hosts is None or hosts.all else hosts
        self._routes = routes
        self._downloads = Downloads(limits)
        self._streams = Streams(limits.max_response_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._hosts is not None and not self._hosts.admit(scope):
            await send_answer(send, _without_body(_WRONG_HOST) if scope["method"] == "HEAD" else _WRONG_HOST)
            return
        if scope["method"] == "POST" and from_another_site(scope):
            await send_answer(send, _ANOTHER_SITE)
            return
        grant(scope, OPEN if self._gate is None else self._gate.access(scope))
        handler = self._handler_of(scope)
        if handler is None:
            await self._app(scope, receive, with_always(send))
            return
        try:
            answer = await handler(scope, receive)
        except ClientGone:
            return
        except Exception as error:
            answer = answer_to_error(error)
        if isinstance(answer, StreamedAnswer):
            await self._streams.send(send, receive, answer)
            return
        if scope["method"] == "HEAD":
            answer = _without_body(answer)
        if len(answer.body) < LARGE_BYTES:
            await send_answer(send, answer)
            return
        try:
            await self._downloads.send(send, answer)
        except Unavailable as error:
            await send_answer(send, answer_to_error(error))

    def _handler_of(self, scope: Scope) -> Handler | None:
        method, path = scope["method"], local_path(scope)
        handler = self._routes.find(method, path)
        if method in _WITHOUT_BODY and has_body(scope) and (handler is not None or not self._routes.knows(path)):
            return _refuse_body
        return handler


def _without_body(answer: HttpAnswer) -> HttpAnswer:
    """To a HEAD (RFC 9110, 9.3.2)."""
    return answer._replace(body=b"", length=len(answer.body)) if answer.body else answer


async def _refuse_body(scope: Scope, receive: Receive) -> HttpAnswer:
    """Answer at once: Serve would take the body into memory, however long, for as long as the request lasts."""
    raise InvalidRequest(f"a {scope['method']} takes no body")


def answer_to_error(error: Exception) -> HttpAnswer:
    """The problem document for whatever a handler raised. A bug's traceback goes to the log, not to the client."""
    if isinstance(error, StoreError):
        status, body, headers = problems.answer_to(error)
        return HttpAnswer(status, body, problems.CONTENT_TYPE, headers)
    events.error("request failed", exc_info=error)
    body = problems.answer_to_status(500, "the store made a mistake; a write may have happened. The log says more")
    return HttpAnswer(500, body, problems.CONTENT_TYPE)
