"""Export and import inside the cluster: the HTTP API's own handlers, asked in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from cloud_storage import transfer
from cloud_storage.attempts import Budget
from cloud_storage.exchange import Request, Response
from cloud_storage.records import Imported
from cloud_storage.steps import Exchange, carried_out
from serve_app.auth.access import OPEN, grant
from serve_app.errors import StoreError
from serve_app.http import problems
from serve_app.http.streams import plain
from serve_app.http.uploads import Uploads
from serve_app.http.v1.transfer import CONTENT_TYPE, Transfer
from serve_app.inside.patient import Patient
from serve_app.settings import Limits


class Transfers:
    """On one directory's loop."""

    def __init__(self, patient: Patient, limits: Limits) -> None:
        self._patient = patient
        self._handlers = Transfer(patient.directory, Uploads(limits))
        self._budget = Budget()

    async def lines(self, prefix: str) -> AsyncIterator[bytes]:
        """What an export consists of. Raises the client's StoreError: it can't begin."""

        async def begin() -> Any:
            return await self._handlers.export(_scope(f"prefix={quote(prefix)}" if prefix else ""), _nothing)

        answer = await self._patient.ask("the export", begin)
        async for some in plain(answer.pieces):
            yield some

    async def import_part(self, part: bytes) -> Imported:
        """Store the records in whole lines. Raises the client's StoreError."""
        loop = asyncio.get_running_loop()
        steps = carried_out(transfer.import_call(part), self._patient.deadline_s(), self._budget, loop.time)
        outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                imported: Imported = done.value
                return imported
            if isinstance(step, Exchange):
                outcome = await self._import(step.request)
            else:
                await asyncio.sleep(step.seconds)
                outcome = None

    async def _import(self, request: Request) -> Response:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        headers = [(b"content-type", CONTENT_TYPE), (b"content-length", b"%d" % len(request.body or b""))]
        try:
            answer = await self._handlers.import_(_scope("", headers), receive)
            status, body, kind = answer.status, answer.body, answer.content_type
        except StoreError as error:
            status, body, _ = problems.answer_to(error)
            kind = problems.CONTENT_TYPE
        # As the front has it on each answer: it is the store's own.
        return Response(status, {"content-type": kind.decode(), "x-content-type-options": "nosniff"}, body)


def _scope(query: str, headers: list[tuple[bytes, bytes]] | None = None) -> dict[str, Any]:
    scope: dict[str, Any] = {"type": "http", "query_string": query.encode(), "headers": headers or []}
    grant(scope, OPEN)
    return scope


async def _nothing() -> dict[str, Any]:
    raise AssertionError("an export has no body")
