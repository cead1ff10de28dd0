"""What a route is, and the table of all of them. Each is declared once, in the module of its API.

The front (`front.py`) answers requests by this table without FastAPI's work on each, and the FastAPI app (`app.py`) declares
the same routes from it, calling the same handlers: so the docs page and the OpenAPI document are about what really runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from serve_app.http.answer import HttpAnswer
from serve_app.http.requests import Scope
from serve_app.http.streams import StreamedAnswer
from serve_app.http.uploads import Receive

Handler = Callable[[Scope, Receive], Awaitable[HttpAnswer | StreamedAnswer]]
KEY_PATH = "{key:path}"


@dataclass(frozen=True)
class Route:
    """One route.

    path: as FastAPI writes it; one that ends in `{key:path}` takes whatever follows, slashes and all.
    api, handler: the class that has the handler, and that method.
    name: the OpenAPI operation id. tag, summary, description, successes: what the docs page says.
    statuses: the errors there are. request: its parameters and body, as OpenAPI has them.
    """

    method: str
    path: str
    api: type
    handler: Callable[[Any, Scope, Receive], Awaitable[HttpAnswer | StreamedAnswer]]
    name: str
    tag: str
    summary: str
    description: str
    successes: dict[int, dict[str, Any]]
    statuses: tuple[int, ...]
    request: dict[str, Any]


class RouteTable:
    """Which handler answers a request, by its method and its path as it was written."""

    def __init__(self, routes: Iterable[Route], apis: Iterable[object]) -> None:
        """apis: one of each class that the routes name."""
        by_class = {type(api): api for api in apis}
        #: All routes, each with its handler.
        self.bound: list[tuple[Route, Handler]] = []
        #: By method: whole paths, and what longer ones begin with.
        self._paths: dict[str, dict[bytes, Handler]] = {}
        self._prefixes: dict[str, list[tuple[bytes, Handler]]] = {}
        for route in routes:
            handler: Handler = route.handler.__get__(by_class[route.api])
            self.bound.append((route, handler))
            paths, prefixes = self._paths.setdefault(route.method, {}), self._prefixes.setdefault(route.method, [])
            if route.path.endswith(KEY_PATH):
                prefixes.append((route.path.removesuffix(KEY_PATH).encode(), handler))
            else:
                paths[route.path.encode()] = handler

    def knows(self, path: bytes) -> bool:
        """Whether there is a route with this path, for whatever method."""
        return any(self.find(method, path) is not None for method in self._paths)

    def find(self, method: str, path: bytes) -> Handler | None:
        """The handler, or None where no route of this table is meant."""
        for prefix, handler in self._prefixes.get(method, ()):
            if path.startswith(prefix):
                return handler
        return self._paths[method].get(path) if method in self._paths else None
