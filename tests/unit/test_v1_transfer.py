"""`/v1/import` over HTTP, on a directory that refuses some of it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.auth.access import OPEN, grant
from serve_app.directory.directory import Directory
from serve_app.directory.routed import Routed
from serve_app.errors import DiskFull, Unavailable
from serve_app.http.uploads import Uploads
from serve_app.http.v1 import transfer
from serve_app.http.v1.target import moment_ms, shown_moment
from serve_app.operations import Operation
from serve_app.operations.expiry import MAX_TIME_MS
from serve_app.settings import Limits
from tests.support.asgi_client import request
from tests.support.fake_directory import FakeDirectory, http_on
from tests.support.local_store import run_async

NDJSON = (b"content-type", b"application/x-ndjson")


class PartlyAway(FakeDirectory):
    """Refuses some keys."""

    def __init__(self, **refused: Exception) -> None:
        super().__init__()
        self.refused = refused

    async def carry_out(self, operation: Operation[object]) -> Routed[object]:
        error = self.refused.get(operation.key.decode())
        if error is not None:
            raise error
        return await super().carry_out(operation)


def test_an_import_stops_at_the_first_line_that_is_missing_and_counts_all_that_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfer, "_PATIENCE_S", -1.0)
    directory = PartlyAway(c=DiskFull("full"), e=Unavailable("away"))
    body = b"".join(json.dumps({"key": key, "value": key}).encode() + b"\n" for key in "abcdef")
    answer = request(http_on(directory), "POST", b"/v1/import", headers=(NDJSON,), body=[body])
    assert answer.status == 507
    told = answer.json()
    assert (told["imported"], told["line"]) == (4, 3)
    assert told["detail"].startswith("line 3: ")
    assert directory.records.keys() == {b"a", b"b", b"d", b"f"}


def test_what_is_tried_again_is_missing_too_where_another_line_stops_the_import() -> None:
    directory = PartlyAway(b=Unavailable("away"), d=DiskFull("full"))
    body = b"".join(json.dumps({"key": key, "value": key}).encode() + b"\n" for key in "abcd")
    answer = request(http_on(directory), "POST", b"/v1/import", headers=(NDJSON,), body=[body])
    assert (answer.status, answer.json()["imported"], answer.json()["line"]) == (507, 2, 2)


@given(st.integers(1, MAX_TIME_MS))
def test_a_moment_is_read_as_it_was_shown(at_ms: int) -> None:
    shown = shown_moment(at_ms)
    assert shown is not None
    assert moment_ms(shown.encode()) == at_ms
    assert datetime.fromisoformat(shown) >= datetime(1970, 1, 1, tzinfo=UTC)


def test_a_value_that_is_longer_than_the_setting_allows_is_not_imported() -> None:
    directory = FakeDirectory()
    lines = [{"key": "fits", "value": "v" * 1000}, {"key": "long", "value": "v" * 1001}]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    app = http_on(directory, Limits(max_value_bytes=1000))
    answer = request(app, "POST", b"/v1/import", headers=(NDJSON,), body=[body])
    assert (answer.status, answer.json()["imported"], answer.json()["line"]) == (413, 1, 2)
    assert directory.records.keys() == {b"fits"}


@run_async
async def test_an_export_that_was_given_up_during_its_first_page_frees_its_place() -> None:
    class Slow:
        """Its lists never end."""

        listing = property(lambda self: self)

        async def page(self, asked: object) -> None:
            await asyncio.Event().wait()

    exports = transfer.Transfer(cast(Directory, Slow()), Uploads(Limits()))
    scope: dict[str, object] = {"query_string": b"", "headers": []}
    grant(scope, OPEN)
    for _ in range(3 * transfer.MAX_EXPORTS):
        asking = asyncio.create_task(exports.export(scope, _nothing))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def _nothing() -> dict[str, object]:
    raise AssertionError("an export has no body")
