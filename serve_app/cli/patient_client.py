"""A client that outlasts trouble: it tries again until the store answers, as long as that can do no harm.

Putting the same value twice is as good as once while nobody else writes the key, so a put of unknown outcome is simply
repeated. Behind it is what any client should do: only this API's own JSON is an answer. Whatever else comes (HAProxy's 500
while a replica is away, a 404 while the application is not deployed yet, a broken connection) says nothing about the record.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

from serve_app.command_output.failure import Failure
from serve_app.command_output.token import bearer, how_to_go_on, wants_another
from serve_app.placement import digest

PATIENCE_S = 60.0
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_REQUEST_TIMEOUT_S = 30.0
_NOT_FOUND = "urn:cloud-storage:key-not-found"
_UPLOAD_TIMEOUT = "urn:cloud-storage:upload-timeout"
_DISK_FULL = "urn:cloud-storage:disk-full"


class _NoAnswer(Exception):
    """Nothing that settles the request; `str(error)` says what came instead."""


class PatientClient:
    """Requests to one store, up to `connections` at once. Use as an async context manager."""

    def __init__(
        self,
        url: str,
        connections: int,
        *,
        patience_s: float = PATIENCE_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._patience_s = patience_s
        #: How often a request was sent again, by the reason; `on_retry` is called after each.
        self.retries: Counter[str] = Counter()
        self.on_retry: Callable[[], None] = lambda: None
        # Each with one connection: a client that shares many looks at all of them for every request (httpcore's pool),
        # which at 32 connections takes more time than the rest of the request.
        context = httpx.create_ssl_context()
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        headers = bearer()
        timeout = httpx.Timeout(min(_REQUEST_TIMEOUT_S, patience_s))
        try:
            self._clients = [
                httpx.AsyncClient(
                    base_url=self._url,
                    timeout=timeout,
                    limits=limits,
                    verify=context,
                    transport=transport,
                    headers=headers,
                )
                for _ in range(connections)
            ]
        except httpx.InvalidURL as error:
            raise Failure(f"{url} is not an address: {error}") from None
        self._idle = list(self._clients)

    async def __aenter__(self) -> PatientClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        for client in self._clients:
            await client.aclose()

    async def put(self, key: str, value: str) -> int:
        """Store a value; the bucket that holds it."""
        if value:
            document = await self._ask("PUT", "/put", {"key": key}, value.encode())
        else:  # an empty body is no value
            document = await self._ask("PUT", "/put", {"key": key, "value": ""})
        if document is None:
            raise Failure(f"{self._url} answers a put with 'no such key': it is not this store")
        return self._bucket_of(document, key)

    async def get(self, key: str) -> tuple[str, int] | None:
        """A key's value and bucket, or None where there is no such key."""
        document = await self._ask("GET", "/get", {"key": key})
        if document is None:
            return None
        if not isinstance(document.get("value"), str):
            raise Failure(f"{self._url} answers a get without a value: it is not this store")
        return document["value"], self._bucket_of(document, key)

    async def topology(self) -> dict[str, Any]:
        """The answer of /topology, of which there is one attempt: is this a store, and is it up?

        Raises:
            Failure: it is not.
        """
        try:
            document = await self._attempt("GET", "/topology", {}, None)
        except _NoAnswer as error:
            raise Failure(f"no store answers at {self._url} ({error}); `make run` starts one") from None
        if document is None or not isinstance(document.get("buckets"), list):
            raise Failure(f"what answers at {self._url} is not this store")
        return document

    # -- one request -------------------------------------------------------------------------------------------------

    def _bucket_of(self, document: dict[str, Any], key: str) -> int:
        if document.get("digest") != digest(key.encode()) or not isinstance(document.get("bucket_id"), int):
            raise Failure(f"{self._url} answers for another key than {key!r}")
        return int(document["bucket_id"])

    async def _ask(
        self, method: str, path: str, parameters: dict[str, str], body: bytes | None = None
    ) -> dict[str, Any] | None:
        """The answer's document, tried for until the patience is at its end; None for 'no such key'."""
        deadline_s = time.monotonic() + self._patience_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await self._attempt(method, path, parameters, body)
            except _NoAnswer as error:
                if time.monotonic() + pause_s > deadline_s:
                    raise Failure(
                        f"the {method.lower()} of key {parameters['key']!r} was not answered within "
                        f"{self._patience_s:g} s; the last try: {error}"
                    ) from None
                self.retries[str(error)] += 1
                self.on_retry()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _attempt(
        self, method: str, path: str, parameters: dict[str, str], body: bytes | None
    ) -> dict[str, Any] | None:
        headers = {"content-type": "text/plain; charset=utf-8"} if body else None
        assert self._idle, "no more requests at once than connections"
        client = self._idle.pop()
        try:
            answer = await client.request(method, path, params=parameters, content=body, headers=headers)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Failure(f"{self._url} is not an address: {error}") from None
        except httpx.TransportError as error:
            raise _NoAnswer(_in_words(error)) from None
        finally:
            self._idle.append(client)
        document = _json_object(answer)
        if document is None:
            raise _NoAnswer(f"{answer.status_code} from something in front of the store")
        if answer.status_code == 200:
            return document
        if wants_another(answer.status_code):
            raise Failure(how_to_go_on(str(document.get("detail")), "read,write,admin"))
        kind = document.get("type")
        if kind == _NOT_FOUND:
            return None
        if kind == _DISK_FULL or (answer.status_code < 500 and kind != _UPLOAD_TIMEOUT):
            what = f"the {method.lower()} of key {parameters['key']!r}" if parameters else path
            raise Failure(f"the store refused {what}: {document.get('detail')}")
        raise _NoAnswer(f"{answer.status_code} {document.get('title')}")


def _json_object(answer: httpx.Response) -> dict[str, Any] | None:
    """The answer's document, or None where it is not of the API's making."""
    if answer.headers.get("content-type") not in ("application/json", "application/problem+json"):
        return None
    try:
        document = json.loads(answer.content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _in_words(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectError):
        return "connection refused"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return "the connection broke"
