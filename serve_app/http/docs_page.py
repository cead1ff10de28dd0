"""The docs page: Swagger UI from the package fastapi-offline, so that it works with no internet."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from serve_app.http.problems import Problem

#: What answers whether a token is shown or not, by operation id.
_OPEN = frozenset({"health"})
_SCHEME = "token"


def add_docs(app: FastAPI, *, needs_token: bool = False) -> None:
    """Serve Swagger UI at /docs, its script and style from the installed package. needs_token: whether the document says
    that operations want one, or only that they take one."""
    _complete_the_document(app, needs_token)
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


def _complete_the_document(app: FastAPI, needs_token: bool) -> None:
    """Put the model of errors and the bearer token into the OpenAPI document.

    A route's `responses` could name the model as theirs, but FastAPI would then list application/json as well, which no
    error is. Its security classes would look at each request themselves.
    """
    wanted: list[dict[str, list[str]]] = [{_SCHEME: []}] if needs_token else [{_SCHEME: []}, {}]
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        document["components"]["securitySchemes"] = {
            _SCHEME: {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of this store (`python -m serve_app token create`), where it wants any.",
            }
        }
        for methods in document["paths"].values():
            for operation in methods.values():
                if operation["operationId"] not in _OPEN:
                    operation["security"] = wanted
        return document

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI's documentation has it
