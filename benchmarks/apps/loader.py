"""Fills the store with many keys fast: an application inside the cluster that speaks the data plane, as a directory does.

A million writes through HTTP would take minutes of the benchmark's time. These take the same way from the bucket's socket on:
same frames, same group commit, same sync. It runs inside Ray because only there can a bucket be asked where it listens.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve

from benchmarks.keys import key_name, value_of
from serve_app.cluster.endpoint_answer import EndpointAnswer
from serve_app.operations import Put, Written
from serve_app.placement import place
from serve_app.settings import NAMESPACE, Limits
from serve_app.wire.connection import ClientConnection, open_connection
from serve_app.wire.endpoint import Endpoint

_TIMEOUT_S = 120.0
# Unanswered writes at one bucket: many, so that groups are large, but below the connection's limit.
_WINDOW = 768


def make_app() -> FastAPI:
    """One route, which writes a range of keys."""
    app = FastAPI()

    @app.post("/load", response_model=None)
    async def load(first: int, count: int, value_bytes: int, bucket_count: int) -> dict[str, int]:
        """Write `count` keys from number `first` on; answered when all are acknowledged."""
        async with asyncio.timeout(_TIMEOUT_S):
            connections = [await _connect(bucket_id) for bucket_id in range(bucket_count)]
            try:
                await _write(connections, first, count, value_bytes)
            finally:
                for connection in connections:
                    connection.close()
        return {"written": count}

    return app


async def _connect(bucket_id: int) -> ClientConnection:
    endpoint = await asyncio.to_thread(_endpoint, bucket_id)
    connection, _ = await open_connection(endpoint, bucket_id, "", Limits(), _connect_tcp)
    return connection


async def _connect_tcp(factory: Any, address: tuple[str, int]) -> asyncio.BaseTransport:
    transport, _ = await asyncio.get_running_loop().create_connection(factory, *address)
    return transport


def _endpoint(bucket_id: int) -> Endpoint:
    actor = ray.get_actor(f"bucket-{bucket_id}", namespace=NAMESPACE)
    found: Any = ray.get(actor.endpoint.remote(), timeout=30)
    answer: EndpointAnswer = found
    assert answer.endpoint is not None, f"bucket-{bucket_id}: {answer.fault}"
    return answer.endpoint


async def _write(connections: list[ClientConnection], first: int, count: int, value_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + _TIMEOUT_S
    under_way: list[deque[asyncio.Future[Any]]] = [deque() for _ in connections]
    for number in range(first, first + count):
        key, value = key_name(number).encode(), value_of(number, value_bytes)
        home, _ = place(key, len(connections))
        connection = connections[home]
        if len(under_way[home]) == _WINDOW:
            _check(await under_way[home].popleft())
        under_way[home].append(connection.call(Put(key, value, "text/plain; charset=utf-8"), deadline_s))
    for queue in under_way:
        for future in queue:
            _check(await future)


def _check(answer: object) -> None:
    assert isinstance(answer, Written), f"a put was answered with {answer}"


def build(args: dict[str, Any]) -> serve.Application:
    """The Serve application; it takes no args."""
    return serve.deployment(name="Loader", max_ongoing_requests=4)(serve.ingress(make_app)()).bind()
