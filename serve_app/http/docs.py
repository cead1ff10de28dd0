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
from starlette.responses import Response
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
    # The empty default is for the page: it would otherwise fill in a sample body beside the sample parameter, which
    # is refused.
    "content": {"text/plain": {"schema": {"type": "string", "default": ""}}},
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
    421: (
        "misdirected-request",
        "Misdirected Request",
        "this store does not answer to the host that the request names (args.allowed_hosts)",
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
_SUCCESS = {
    "put": "Stored, and on disk.",
    "get_path": "The value.",
    "get_query": "The value.",
    "delete_path": "Deleted, and the disk knows.",
    "delete_query": "Deleted, and the disk knows.",
    "health": "The store knows its shape.",
    "topology": "The shape, and what each bucket says of itself.",
}
_STATUSES = {
    "put": (408, 413, 421, 422, 503, 504, 507),
    "get_path": (404, 421, 422, 503),
    "get_query": (404, 421, 422, 503),
    "delete_path": (404, 421, 422, 503, 504),
    "delete_query": (404, 421, 422, 503, 504),
    "health": (421, 503),
    "topology": (421, 503),
}


RECORDS, STORE = "Records", "The store"
TAGS = [
    {"name": RECORDS, "description": "Put, get and delete."},
    {"name": STORE, "description": "Is it up, and how are its buckets?"},
]

DESCRIPTION = """A durable key-value store that lives inside a Ray cluster.

Keys are UTF-8 text of 1 to 1,024 bytes, values UTF-8 text of up to 25 MiB. **An acknowledged write is on disk.**
Every error is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem document: switch on its `type`, show its
`detail`.

| answer | did a write happen? | what to do |
| --- | --- | --- |
| 200 | yes, and it is on disk | |
| 404 | no such key, so there was nothing to do | |
| 408 | no: the body stopped arriving, or had to give way to others | send it again |
| 413, 422 | no: the request is wrong as it is | mend it: `detail` says how |
| 421 | no: the store does not go by the name in the URL | use another, or `allowed_hosts` in its configuration |
| 503 | no: refused for now | try again after `Retry-After` seconds |
| 504, or anything that is not this API's JSON | **not known** | read to find out, or write again |
| 507 | no: the disk is full | free or add space; reads and deletes go on |
"""


#: Where to go on from a put; also what a tester follows from one request to the next.
_LINKS = {
    "Read": {"operationId": "get_query", "parameters": {"key": "$response.body#/key"}},
    "Delete": {"operationId": "delete_query", "parameters": {"key": "$response.body#/key"}},
}


def operation(name: str, answer: type[BaseModel]) -> dict[str, Any]:
    """Keyword arguments that declare a route: its parameters, its answer's model and every error with an example."""
    responses: dict[int | str, dict[str, Any]] = {200: {"model": answer, "description": _SUCCESS[name]}}
    if name == "put":
        responses[200]["links"] = _LINKS
    for status in _STATUSES[name]:
        kind, title, detail = _ERRORS[status]
        example = {"type": f"urn:cloud-storage:{kind}", "title": title, "status": status, "detail": detail}
        responses[status] = {
            "description": title,
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
            },
        }
        if status == 503:
            responses[status]["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            }
    tag = STORE if name in ("health", "topology") else RECORDS
    return {"operation_id": name, "tags": [tag], "responses": responses, "openapi_extra": _REQUESTS[name]}


def add_docs(app: FastAPI) -> None:
    """Serve Swagger UI at /docs, its script and style from the installed package."""
    _add_problem_model(app)
    app.mount("/docs/assets", _Assets(directory=str(files("fastapi_offline") / "static")), name="docs-assets")

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


class _Assets(StaticFiles):
    """The page's own files: large, the same for everybody, and asked for again only where they have changed."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def _add_problem_model(app: FastAPI) -> None:
    """Put the model of errors into the OpenAPI document.

    A route's `responses` could name it as their model, but FastAPI would then list application/json as well, which no error
    is.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return document

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI's documentation has it
