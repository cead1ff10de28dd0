"""What people reach for first: FastAPI in front of Redis, here with the same promise (each write synced before its answer).

Redis has to be told that promise: `redis-server --appendonly yes --appendfsync always`. The Python package is imported by
name, since it is no dependency of this project: without it this system is skipped.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from ray import serve


def make_app(port: int) -> FastAPI:
    """The API on the Redis that listens on this port of this machine."""
    client: Any = importlib.import_module("redis.asyncio").Redis(host="127.0.0.1", port=port, decode_responses=True)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await client.aclose()

    app = FastAPI(lifespan=lifespan)

    @app.put("/put", response_model=None)
    async def put(key: str, value: str) -> dict[str, str]:
        await client.set(key, value)
        return {"key": key, "value": value}

    @app.get("/get/{key:path}", response_model=None)
    async def get(key: str) -> dict[str, str]:
        value = await client.get(key)
        if value is None:
            raise HTTPException(404, f"no record has the key {key!r}")
        return {"value": value}

    return app


def build(args: dict[str, Any]) -> serve.Application:
    """The Serve application; args: port."""
    port = int(args["port"])
    ingress = serve.ingress(lambda: make_app(port))()
    return serve.deployment(name="RedisIngress", max_ongoing_requests=1000)(ingress).bind()
