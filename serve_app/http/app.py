"""The HTTP face: a FastAPI app with every route declared, behind the front that answers the frequent ones.

`build_http` needs a directory and nothing of Ray, so the same app runs under a test client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from serve_app import __version__
from serve_app.directory.directory import Directory
from serve_app.errors import StoreError
from serve_app.http import docs, problems
from serve_app.http.front import AsgiApp, Front, answer_to_error
from serve_app.http.hosts import Hosts
from serve_app.http.models import DeleteAnswer, GetAnswer, HealthAnswer, PutAnswer, TopologyAnswer
from serve_app.http.operations import Answer, Operations, key_of
from serve_app.http.status import health, topology
from serve_app.settings import Limits


def build_http(directory: Directory, limits: Limits, hosts: Hosts | None = None) -> Front:
    """The ASGI application on a directory, which it starts and stops with its lifespan. hosts: as `Front`."""
    operations = Operations(directory, limits)
    return Front(cast(AsgiApp, _build_app(directory, operations)), operations, limits, hosts)


def _build_app(directory: Directory, operations: Operations) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await directory.start()
        yield
        await directory.stop()

    app = FastAPI(
        title="Cloud Storage",
        version=__version__,
        description=docs.DESCRIPTION,
        openapi_tags=docs.TAGS,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(StoreError, _on_exception)
    app.add_exception_handler(Exception, _on_exception)
    docs.add_docs(app)

    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> RedirectResponse:
        return RedirectResponse(request.scope.get("root_path", "") + "/docs")

    @app.put("/put", summary="Store a value", **docs.operation("put", PutAnswer))
    async def put(request: Request) -> Response:
        """Store a value under a key, new or not. The value is the parameter `value` or the request's body, not both.

        Answered once it is on disk.
        """
        return _response(await operations.put(request.scope, request.receive))  # type: ignore[arg-type]

    @app.get("/get/{key:path}", summary="Read a value", **docs.operation("get_path", GetAnswer))
    async def get_by_path(request: Request) -> Response:
        """The value of a key. Keys with dots alone between slashes (`.` and `..`) need the form with a parameter."""
        scope: Any = request.scope
        return _response(await operations.get(scope, key_of(scope, b"/get")))

    @app.get("/get", summary="Read a value, the key as a parameter", **docs.operation("get_query", GetAnswer))
    async def get_by_query(request: Request) -> Response:
        """The value of a key, given as a parameter: for keys that clients would fold out of a path."""
        scope: Any = request.scope
        return _response(await operations.get(scope, key_of(scope, b"/get")))

    @app.delete("/delete/{key:path}", summary="Delete a key", **docs.operation("delete_path", DeleteAnswer))
    async def delete_by_path(request: Request) -> Response:
        """Delete a key; the answer holds the value that it had. Answered once that is on disk."""
        scope: Any = request.scope
        return _response(await operations.delete(scope, key_of(scope, b"/delete")))

    @app.delete("/delete", summary="Delete a key, given as a parameter", **docs.operation("delete_query", DeleteAnswer))
    async def delete_by_query(request: Request) -> Response:
        """Delete a key, given as a parameter: for keys that clients would fold out of a path."""
        scope: Any = request.scope
        return _response(await operations.delete(scope, key_of(scope, b"/delete")))

    @app.get("/health", summary="Is the store up?", **docs.operation("health", HealthAnswer))
    async def get_health() -> HealthAnswer:
        """M, the number of buckets. 503 until the store knows its topology."""
        return health(directory)

    @app.get("/topology", summary="The buckets and their state", **docs.operation("topology", TopologyAnswer))
    async def get_topology() -> TopologyAnswer:
        """The shape of the store and, from each bucket just now, its exact counts and what is wrong with it."""
        return await topology(directory)

    return app


def _response(answer: Answer) -> Response:
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, answer.status, headers, media_type=answer.content_type.decode())


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        detail = f"there is no route {request.url.path[:100]}; GET /docs shows those there are"
    elif error.status_code == 405:
        detail = f"{request.url.path[:100]} does not take {request.method}"
    else:
        detail = str(error.detail)
    body = problems.answer_to_status(error.status_code, detail)
    return Response(body, error.status_code, error.headers, media_type=problems.CONTENT_TYPE.decode())


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    detail = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
    body = problems.problem(422, "invalid-request", "Bad key or parameter", detail)
    return Response(body, 422, media_type=problems.CONTENT_TYPE.decode())


async def _on_exception(request: Request, error: Exception) -> Response:
    return _response(answer_to_error(error))
