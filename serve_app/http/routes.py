"""The routes of the API's operations, each declared once.

The front (`front.py`) answers requests by this table without FastAPI's work on each, and the FastAPI app (`app.py`) declares
the same routes from it, calling the same handlers: so the docs page and the OpenAPI document are about what really runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from serve_app.http.answer import HttpAnswer
from serve_app.http.first_api import FirstApi
from serve_app.http.models import DeleteAnswer, GetAnswer, PutAnswer
from serve_app.http.parameters import KEY_IN_PATH, KEY_IN_QUERY, TEXT_BODY, VALUE_IN_QUERY
from serve_app.http.requests import Scope
from serve_app.http.uploads import Receive

Handler = Callable[[Scope, Receive], Awaitable[HttpAnswer]]
KEY_PATH = "{key:path}"
_READ_ERRORS = (401, 403, 404, 421, 422, 503)
_DELETE_ERRORS = (*_READ_ERRORS, 504)


@dataclass(frozen=True)
class Route:
    """One route.

    path: as FastAPI writes it; one that ends in `{key:path}` takes whatever follows, slashes and all.
    name: the OpenAPI operation id. summary, description, success: what the docs page says.
    statuses: the errors there are. request: its parameters and body, as OpenAPI has them.
    """

    method: str
    path: str
    handler: Callable[[FirstApi, Scope, Receive], Awaitable[HttpAnswer]]
    name: str
    summary: str
    description: str
    answer: type[BaseModel] | None
    success: str
    statuses: tuple[int, ...]
    request: dict[str, Any]


ROUTES = (
    Route(
        "PUT",
        "/put",
        FirstApi.put,
        "put",
        "Store a value",
        "Store a value under a key, new or not. The value is the parameter `value` or the request's body, not both.\n\n"
        "Answered once it is on disk.",
        PutAnswer,
        "Stored, and on disk.",
        (401, 403, 408, 413, 421, 422, 503, 504, 507),
        {"parameters": [KEY_IN_QUERY, VALUE_IN_QUERY], "requestBody": TEXT_BODY},
    ),
    Route(
        "GET",
        f"/get/{KEY_PATH}",
        FirstApi.get,
        "get_path",
        "Read a value",
        "The value of a key. Keys with dots alone between slashes (`.` and `..`) need the form with a parameter.",
        GetAnswer,
        "The value.",
        _READ_ERRORS,
        {"parameters": [KEY_IN_PATH]},
    ),
    Route(
        "GET",
        "/get",
        FirstApi.get,
        "get_query",
        "Read a value, the key as a parameter",
        "The value of a key, given as a parameter: for keys that clients would fold out of a path.",
        GetAnswer,
        "The value.",
        _READ_ERRORS,
        {"parameters": [KEY_IN_QUERY]},
    ),
    Route(
        "HEAD",
        f"/get/{KEY_PATH}",
        FirstApi.head,
        "head_path",
        "How long a GET's answer is",
        "Whether the key is there, and the Content-Length of what GET would send, without sending it.",
        None,
        "The key is there.",
        _READ_ERRORS,
        {"parameters": [KEY_IN_PATH]},
    ),
    Route(
        "HEAD",
        "/get",
        FirstApi.head,
        "head_query",
        "How long a GET's answer is, the key as a parameter",
        "As the form with the key in the path, for keys that clients would fold out of a path.",
        None,
        "The key is there.",
        _READ_ERRORS,
        {"parameters": [KEY_IN_QUERY]},
    ),
    Route(
        "DELETE",
        f"/delete/{KEY_PATH}",
        FirstApi.delete,
        "delete_path",
        "Delete a key",
        "Delete a key; the answer holds the value that it had. Answered once that is on disk.",
        DeleteAnswer,
        "Deleted, and the disk knows.",
        _DELETE_ERRORS,
        {"parameters": [KEY_IN_PATH]},
    ),
    Route(
        "DELETE",
        "/delete",
        FirstApi.delete,
        "delete_query",
        "Delete a key, given as a parameter",
        "Delete a key, given as a parameter: for keys that clients would fold out of a path.",
        DeleteAnswer,
        "Deleted, and the disk knows.",
        _DELETE_ERRORS,
        {"parameters": [KEY_IN_QUERY]},
    ),
)


class RouteTable:
    """Which handler answers a request, by its method and its path as it was written."""

    def __init__(self, api: FirstApi) -> None:
        #: By method: whole paths, and what longer ones begin with.
        self._paths: dict[str, dict[bytes, Handler]] = {}
        self._prefixes: dict[str, list[tuple[bytes, Handler]]] = {}
        for route in ROUTES:
            handler: Handler = route.handler.__get__(api)
            paths, prefixes = self._paths.setdefault(route.method, {}), self._prefixes.setdefault(route.method, [])
            if route.path.endswith(KEY_PATH):
                prefixes.append((route.path.removesuffix(KEY_PATH).encode(), handler))
            else:
                paths[route.path.encode()] = handler

    def find(self, method: str, path: bytes) -> Handler | None:
        """The handler, or None where no route of this table is meant."""
        for prefix, handler in self._prefixes.get(method, ()):
            if path.startswith(prefix):
                return handler
        return self._paths[method].get(path) if method in self._paths else None
