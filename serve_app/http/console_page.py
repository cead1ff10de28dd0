"""The console at /console: a page of plain files (`console/`), which is a client of the API like any other.

The files hold no secrets and are open to all, as the docs page is; what the page asks for carries a token where the store
wants one. Links in them are relative, so they work below any prefix.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

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
        return await console.get_response("index.html", request.scope)

    @app.api_route("/console/", methods=["GET", "HEAD"], include_in_schema=False)
    async def with_a_slash(request: Request) -> RedirectResponse:
        return RedirectResponse(request.scope.get("root_path", "") + "/console")

    app.mount("/console", console, name="console")


class _Files(StaticFiles):
    """The page's files, with what is said of each."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_HEADERS)
        if isinstance(response, FileResponse):
            response.headers["content-type"] = _TYPES[Path(response.path).suffix]
        return response
