"""Requests to an ASGI application in this process, byte for byte as given: no client library tidies them up first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from serve_app.http.front import AsgiApp
from tests.support.problem import Answered

Headers = Iterable[tuple[bytes, bytes]]


def scope_of(method: str, target: bytes, headers: Headers = (), root_path: str = "") -> dict[str, Any]:
    """The ASGI scope of a request, as uvicorn makes it."""
    raw_path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": _decoded(raw_path),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": root_path,
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def ask(
    app: AsgiApp,
    method: str,
    target: bytes,
    *,
    headers: Headers = (),
    body: Iterable[bytes] = (),
    root_path: str = "",
) -> Answered:
    """Send one request and take its whole answer. body is given to the application chunk by chunk."""
    chunks = list(body)
    announced = list(headers)
    if chunks and not any(name == b"content-length" for name, _ in announced):
        announced.append((b"transfer-encoding", b"chunked"))
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope_of(method, target, announced, root_path), receive, send)
    assert sent[0]["type"] == "http.response.start"
    assert not sent[-1].get("more_body")
    return Answered(
        sent[0]["status"],
        {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]},
        b"".join(message["body"] for message in sent[1:]),
    )


def request(app: AsgiApp, method: str, target: bytes, **options: Any) -> Answered:
    """`ask`, for tests that are not coroutines."""
    return asyncio.run(ask(app, method, target, **options))


def _decoded(raw_path: bytes) -> str:
    return unquote_to_bytes(raw_path).decode("utf-8", "replace")
