"""The yardstick: a FastAPI handler that does nothing, behind the same ingress as the store.

It is the least that any HTTP API written with Ray Serve and FastAPI costs.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve


def make_app() -> FastAPI:
    """One handler under two methods, so that a mix of reads and writes can be sent to it as to the others."""
    app = FastAPI()

    # response_model=None is what FastAPI does with a handler that has no annotations.
    @app.get("/empty", response_model=None)
    @app.put("/empty", response_model=None)
    async def empty() -> dict[str, bool]:
        return {"ok": True}

    return app


def build(args: dict[str, Any]) -> serve.Application:
    """The Serve application; it takes no args."""
    return serve.deployment(name="Empty", max_ongoing_requests=1000)(serve.ingress(make_app)()).bind()
