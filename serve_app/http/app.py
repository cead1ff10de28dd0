"""The HTTP face: a FastAPI app with every route declared, behind the front that answers the frequent ones.

`build_http` needs a directory and nothing of Ray, so the same app runs under a test client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.routing import Mount
from starlette.routing import Route as RoutedPath

from serve_app import __version__
from serve_app.auth.access import access_of
from serve_app.auth.gate import Gate
from serve_app.directory.directory import Directory
from serve_app.errors import StoreError
from serve_app.http import problems
from serve_app.http.answer import HttpAnswer
from serve_app.http.console_page import add_console
from serve_app.http.declarations import DESCRIPTION, STORE, TAGS, answered_with, declaration
from serve_app.http.docs_page import add_docs
from serve_app.http.first_api import FirstApi
from serve_app.http.first_routes import FIRST_ROUTES
from serve_app.http.front import AsgiApp, Front, answer_to_error
from serve_app.http.hosts import Hosts
from serve_app.http.models import HealthAnswer, TopologyAnswer
from serve_app.http.routes import Handler, RouteTable
from serve_app.http.status import health, topology
from serve_app.http.streams import StreamedAnswer, plain
from serve_app.http.uploads import Uploads
from serve_app.http.v1.batch import Batches
from serve_app.http.v1.counters import Counters
from serve_app.http.v1.keys import Keys
from serve_app.http.v1.kv import Values
from serve_app.http.v1.routes import V1_ROUTES
from serve_app.http.v1.transfer import Transfer
from serve_app.http.v1.watch import Watching
from serve_app.settings import Limits


def build_http(
    directory: Directory,
    limits: Limits,
    hosts: Hosts | None = None,
    gate: Gate | None = None,
    beside: AbstractAsyncContextManager[object] | None = None,
) -> Front:
    """The ASGI application on a directory, which it starts and stops with its lifespan. hosts, gate: as `Front`. beside: what
    is to run on the directory too, for as long."""
    uploads = Uploads(limits)
    apis = (
        FirstApi(directory, uploads),
        Values(directory, uploads),
        Counters(directory, uploads),
        Keys(directory),
        Batches(directory, uploads),
        Watching(directory),
        Transfer(directory, uploads),
    )
    routes = RouteTable((*V1_ROUTES, *FIRST_ROUTES), apis)
    return Front(cast(AsgiApp, _build_app(directory, routes, gate, beside)), routes, limits, hosts, gate)


def _build_app(
    directory: Directory, routes: RouteTable, gate: Gate | None, beside: AbstractAsyncContextManager[object] | None
) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await directory.start()
        following = None if gate is None else asyncio.create_task(gate.follow(), name="tokens")
        async with beside or nullcontext():
            yield
        if following is not None:
            following.cancel()
        await directory.stop()

    app = FastAPI(
        title="Cloud Storage",
        version=__version__,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(StoreError, _on_exception)
    app.add_exception_handler(Exception, _on_exception)
    add_docs(app, needs_token=gate is not None)
    add_console(app)

    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> RedirectResponse:
        return RedirectResponse(request.scope.get("root_path", "") + "/docs")

    for route, handler in routes.bound:
        app.add_api_route(
            route.path,
            _endpoint(handler),
            methods=[route.method],
            summary=route.summary,
            description=route.description,
            **declaration(
                route.name,
                route.tag,
                route.successes,
                route.statuses,
                route.request,
                with_bodies=route.method != "HEAD",
            ),
        )

    @app.get(
        "/health",
        summary="Is the store up?",
        **declaration("health", STORE, answered_with(HealthAnswer, "The store knows its shape."), (421, 503)),
    )
    async def get_health() -> HealthAnswer:
        """M, the number of buckets. 503 until the store knows its topology."""
        return health(directory)

    @app.get(
        "/topology",
        summary="The buckets and their state",
        **declaration(
            "topology",
            STORE,
            answered_with(TopologyAnswer, "The shape, and what each bucket says of itself."),
            (401, 403, 421, 503),
        ),
    )
    async def get_topology(request: Request) -> TopologyAnswer:
        """The shape of the store and, from each bucket just now, its exact counts and what is wrong with it."""
        access_of(request.scope).require("admin")
        return await topology(directory, "" if gate is None else gate.problem)

    return app


def _endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        answer = await handler(request.scope, request.receive)  # type: ignore[arg-type]
        if isinstance(answer, StreamedAnswer):  # the front answers it, but for a path that is written otherwise
            headers = {name.decode(): value.decode() for name, value in answer.headers}
            return StreamingResponse(plain(answer.pieces), 200, headers, media_type=answer.content_type.decode())
        return _response(answer)

    return endpoint


def _response(answer: HttpAnswer) -> Response:
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, answer.status, headers, media_type=answer.content_type.decode() or None)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        detail = f"there is no route {request.url.path[:100]}; GET /docs shows those there are"
    elif error.status_code == 405:
        detail = f"{request.url.path[:100]} does not take {request.method}"
    else:
        detail = str(error.detail)
    body = problems.answer_to_status(error.status_code, detail)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods_of(request))
    return Response(body, error.status_code, headers, media_type=problems.CONTENT_TYPE.decode())


def _methods_of(request: Request) -> list[str]:
    """What the path takes: several routes may have the same one (RFC 9110, 10.2.1)."""
    scope = request.scope
    path = scope["path"].removeprefix(scope.get("app_root_path", scope.get("root_path", "")))
    matching = [
        route for route in request.app.routes if isinstance(route, RoutedPath | Mount) and route.path_regex.match(path)
    ]
    # What is mounted are files.
    return sorted({method for route in matching for method in getattr(route, "methods", None) or ("GET", "HEAD")})


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    detail = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
    body = problems.problem(422, "invalid-request", "Bad key or parameter", detail)
    return Response(body, 422, media_type=problems.CONTENT_TYPE.decode())


async def _on_exception(request: Request, error: Exception) -> Response:
    return _response(answer_to_error(error))
