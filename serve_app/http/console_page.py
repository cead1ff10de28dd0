"""The console at /console: a page of plain files (`console/`), which is a client of the API like any other.

The files hold no secrets and are open to all, as the docs page is; what the page asks for carries a token where the store
wants one. Links in them are relative, so they work below any prefix.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Receive, Scope, Send

_PAGE = "index.html"
_FOLDER = Path(str(files("serve_app.http") / "console"))

#: Keys and values are anybody's, so the page may run and load nothing but its own files, and no other page may frame it.
#: Trusted types: no text can be made markup, by whatever mistake. blob: is how a value is shown as an image.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "accept-ranges": "none",
    "cache-control": "no-cache",  # they are asked for each time, and sent where they have changed
}
#: The machine's own table of types may say otherwise, and with `nosniff` a module of another type is not run.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def add_console(app: FastAPI) -> None:
    """Serve the page at /console and its files below."""
    console = _Files(directory=_FOLDER)

    @app.api_route("/console", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        return await console.get_response(_PAGE, request.scope)

    @app.api_route("/console/", methods=["GET", "HEAD"], include_in_schema=False)
    async def with_a_slash(request: Request) -> RedirectResponse:
        return RedirectResponse(request.scope.get("root_path", "") + "/console")

    app.mount("/console", console, name="console")


class _Files(StaticFiles):
    """The page's files, with what is said of each."""

    def get_path(self, scope: Scope) -> str:
        """Of the file that is asked for below /console. The page itself has one address, for its links are relative."""
        path = super().get_path(scope)
        return "" if path == _PAGE or scope["path"].endswith("/") else path

    def file_response(
        self, full_path: Any, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = _WholeFile(
            full_path, status_code, stat_result=stat_result, media_type=_TYPES[Path(full_path).suffix]
        )
        response.headers.update(_HEADERS)
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response


class _WholeFile(FileResponse):
    """The files are small: a `Range` is not looked at, which RFC 9110 (14.2) leaves to a server. Starlette's answers to one
    that can't be read, or is beyond the end, are no problem documents as all others of the API are."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [header for header in scope["headers"] if header[0] != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)
