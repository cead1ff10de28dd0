"""The store's API built the obvious way, its first half: a FastAPI ingress that forwards to the bucket servers with httpx.

Obvious but not careless: async handlers, and one client whose connections are kept open.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException
from ray import serve


def make_app(bucket_urls: list[str]) -> FastAPI:
    """The ingress for these bucket servers."""
    client = httpx.AsyncClient(timeout=30.0)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await client.aclose()

    app = FastAPI(lifespan=lifespan)

    @app.put("/put", response_model=None)
    async def put(key: str, value: str) -> dict[str, Any]:
        bucket_id, digest = place(key)
        answer = await client.put(f"{bucket_urls[bucket_id]}/record", params={"key": key, "value": value})
        answer.raise_for_status()
        return {"key": key, "value": value, **answer.json(), "bucket_id": bucket_id, "digest": digest}

    @app.get("/get/{key:path}", response_model=None)
    async def get(key: str) -> dict[str, Any]:
        bucket_id, digest = place(key)
        answer = await client.get(f"{bucket_urls[bucket_id]}/record", params={"key": key})
        if answer.status_code == 404:
            raise HTTPException(404, f"no record has the key {key!r}")
        answer.raise_for_status()
        return {**answer.json(), "bucket_id": bucket_id, "digest": digest}

    def place(key: str) -> tuple[int, str]:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return int(digest, 16) % len(bucket_urls), digest

    return app


def build(args: dict[str, Any]) -> serve.Application:
    """The Serve application; args: bucket_urls."""
    bucket_urls = list(args["bucket_urls"])
    ingress = serve.ingress(lambda: make_app(bucket_urls))()
    return serve.deployment(name="ObviousIngress", max_ongoing_requests=1000)(ingress).bind()
