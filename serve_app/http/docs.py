"""The docs page, and what each route says of itself in the OpenAPI document.

Swagger UI comes from the package fastapi-offline, so the page works with no internet. The routes take the raw request
(`operations.py` says why), so their parameters are written down here instead of in signatures.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from starlette.staticfiles import StaticFiles

from serve_app.http.problems import Problem

_KEY_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 1024}
_KEY_TEXT = "UTF-8 text of 1 to 1,024 bytes. Any character is allowed; slashes and spaces too."
_KEY_IN_PATH = {
    "name": "key", "in": "path", "required": True, "schema": _KEY_SCHEMA, "description": _KEY_TEXT, "example": "hello",
}  # fmt: skip
_KEY_IN_QUERY = _KEY_IN_PATH | {"in": "query"}
_VALUE_IN_QUERY = {
    "name": "value", "in": "query", "required": False, "schema": {"type": "string"}, "example": "world",
    "description": "The value, for short ones: a URL holds some 16 kB. Leave it out to send the value as the body.",
}  # fmt: skip
_BODY = {
    "required": False,
    "description": "The value, where the parameter `value` is left out: UTF-8 text of up to 25 MiB.",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}

_REQUESTS: dict[str, dict[str, Any]] = {
    "put": {"parameters": [_KEY_IN_QUERY, _VALUE_IN_QUERY], "requestBody": _BODY},
    "get_path": {"parameters": [_KEY_IN_PATH]},
    "get_query": {"parameters": [_KEY_IN_QUERY]},
    "delete_path": {"parameters": [_KEY_IN_PATH]},
    "delete_query": {"parameters": [_KEY_IN_QUERY]},
    "health": {},
    "topology": {},
}

_ERRORS = {
    404: ("key-not-found", "No such key", "no record has the key 'hello'"),
    408: (
        "upload-timeout",
        "The request body stopped arriving",
        "no more of the body came for 10 s; nothing was stored",
    ),
    413: (
        "value-too-large",
        "Value too large",
        "a value has at most 26,214,400 bytes; this one has 30,000,000 or more",
    ),
    422: ("invalid-request", "Bad key or parameter", "the parameter 'key' is missing"),
    503: ("unavailable", "Refused for now; nothing changed", "bucket-1 is away: the connection broke"),
    504: (
        "outcome-unknown",
        "The write's outcome is not known",
        "the connection to bucket-1 broke after the put was sent",
    ),
    507: (
        "disk-full",
        "The bucket's disk is full; nothing changed",
        "bucket-1: the disk has less than its reserve left",
    ),
}
_STATUSES = {
    "put": (408, 413, 422, 503, 504, 507),
    "get_path": (404, 422, 503),
    "get_query": (404, 422, 503),
    "delete_path": (404, 422, 503, 504),
    "delete_query": (404, 422, 503, 504),
    "health": (503,),
    "topology": (503,),
}


def operation(name: str, answer: type[BaseModel]) -> dict[str, Any]:
    """Keyword arguments that declare a route: its parameters, its answer's model and every error with an example."""
    responses: dict[int | str, dict[str, Any]] = {200: {"model": answer}}
    for status in _STATUSES[name]:
        kind, title, detail = _ERRORS[status]
        example = {"type": f"urn:cloud-storage:{kind}", "title": title, "status": status, "detail": detail}
        responses[status] = {
            "model": Problem,
            "description": title,
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
            },
        }
        if status == 503:
            responses[status]["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            }
    return {"operation_id": name, "responses": responses, "openapi_extra": _REQUESTS[name]}


def add_docs(app: FastAPI) -> None:
    """Serve Swagger UI at /docs, its script and style from the installed package."""
    app.mount("/docs/assets", StaticFiles(directory=str(files("fastapi_offline") / "static")), name="docs-assets")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=root + "/openapi.json",
            title=f"{app.title}: the API",
            swagger_js_url=root + "/docs/assets/swagger-ui-bundle.js",
            swagger_css_url=root + "/docs/assets/swagger-ui.css",
            swagger_favicon_url=root + "/docs/assets/favicon.png",
            swagger_ui_parameters={"tryItOutEnabled": True, "validatorUrl": None, "displayRequestDuration": True},
        )
