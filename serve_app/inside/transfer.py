"""Export and import inside the cluster: the HTTP API's own handlers, asked in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from cloud_storage import answers, transfer
from cloud_storage.exchange import Request, Response
from cloud_storage.steps import Broken
from serve_app.auth.access import OPEN, grant
from serve_app.errors import StoreError, Unavailable
from serve_app.http import problems
from serve_app.http.streams import plain
from serve_app.http.uploads import Uploads
from serve_app.http.v1.transfer import CONTENT_TYPE, Transfer
from serve_app.inside.patient import Patient
from serve_app.inside.refusals import told_as
from serve_app.settings import Limits


class Transfers:
    """On one directory's loop."""

    def __init__(self, patient: Patient, limits: Limits) -> None:
        self._patient = patient
        self._handlers = Transfer(patient.directory, Uploads(limits))

    async def lines(self, prefix: str, lines: transfer.Lines) -> AsyncIterator[bytes]:
        """What an export consists of, in whole lines. Raises the client's StoreError."""
        loop = asyncio.get_running_loop()
        request, attempts = lines.request(prefix), self._patient.attempts("the export")
        while True:
            self._patient.check_open()
            try:
                answer = await self._handlers.export(_scope(request.target.partition("?")[2]), _nothing)
                async with aclosing(plain(answer.pieces)) as pieces:  # type: ignore[type-var] # it is a generator
                    async for some in pieces:
                        whole = lines.feed(some)
                        if whole:
                            attempts = self._patient.attempts("the export")
                            yield whole
                yield lines.ending()
                return
            except (Unavailable, Broken) as error:
                with lines.interrupted():
                    pause_s = attempts.not_sent(str(error), loop.time())
                request = lines.request(prefix)
            except StoreError as error:
                raise told_as(error) from None
            await asyncio.sleep(pause_s)

    async def import_(self, request: Request) -> Response:
        """What the handler of imports answers."""

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
        return Response(status, {"content-type": kind.decode(), answers.OWN_HEADER: "1"}, body)


def _scope(query: str, headers: list[tuple[bytes, bytes]] | None = None) -> dict[str, Any]:
    scope: dict[str, Any] = {"type": "http", "query_string": query.encode(), "headers": headers or []}
    grant(scope, OPEN)
    return scope


async def _nothing() -> dict[str, Any]:
    raise AssertionError("an export has no body")
