"""`/v1/import` over HTTP: what is stored, and what it says of what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from serve_app.directory.routed import Routed
from serve_app.errors import DiskFull, StoreError, Unavailable, UploadTimeout
from serve_app.http.uploads import Uploads
from serve_app.http.v1 import transfer
from serve_app.operations import Operation
from serve_app.record_bounds import MAX_VALUE_BYTES
from serve_app.settings import Limits
from tests.support.asgi_client import ask, request, scope_of
from tests.support.fake_directory import FakeDirectory, http_on
from tests.support.problem import Answered

NDJSON = (b"content-type", b"application/x-ndjson")


class Asked(FakeDirectory):
    """Remembers how many operations came together, and refuses as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.refusals: dict[bytes, StoreError] = {}

    async def carry_out_all(self, operations: Sequence[Operation[Any]]) -> list[Routed[Any] | StoreError]:
        self.batches.append(len(operations))
        refused, self.refusals = self.refusals, {}
        return [
            refused[each.key] if each.key in refused else (await super(Asked, self).carry_out_all([each]))[0]
            for each in operations
        ]


@pytest.fixture
def directory() -> Asked:
    return Asked()


def line(key: str, value: str = "v", **more: Any) -> bytes:
    return msgspec.json.encode({"key": key, "value": value, **more}) + b"\n"


def sent(directory: FakeDirectory, *lines: bytes, limits: Limits | None = None) -> Answered:
    return request(http_on(directory, limits), "POST", b"/v1/import", headers=[NDJSON], body=[b"".join(lines)])


def said(answer: Answered) -> tuple[int, int, int]:
    """Status, how many were imported, and the first line that was not."""
    told = answer.json()
    return answer.status, told["imported"], told["line"]


def test_all_before_a_line_that_is_wrong_is_stored(directory: Asked) -> None:
    """It can be sent again from there: what was before and had not been stored yet was lost by that."""
    assert said(sent(directory, line("a"), b"\n", line("b"), b"garbage\n", line("c"))) == (422, 2, 4)
    assert directory.records.keys() == {b"a", b"b"}


def test_all_before_a_line_that_is_too_long_is_stored(directory: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_MAX_LINE_BYTES", 100)
    assert said(sent(directory, line("a"), b"\n", line("b", "v" * 100)[:-1])) == (413, 1, 3)
    assert directory.records.keys() == {b"a"}


def test_what_is_refused_before_is_what_is_told(directory: Asked) -> None:
    directory.refusals = {b"b": DiskFull("full")}
    assert said(sent(directory, line("a"), line("b"), b"garbage\n")) == (507, 1, 2)


def test_all_that_were_stored_are_counted_and_the_first_that_was_not_is_named(directory: Asked) -> None:
    directory.refusals = {b"b": Unavailable("not now"), b"c": DiskFull("full")}
    assert said(sent(directory, line("a"), line("b"), line("c"), line("d"))) == (507, 2, 2)


def test_of_a_key_that_comes_twice_the_second_is_what_stays(directory: Asked) -> None:
    """Also where the first is refused for now, and tried again."""
    directory.refusals = {b"a": Unavailable("not now")}
    answer = sent(directory, line("a", "first"), line("b"), line("a", "second"))
    assert (answer.status, answer.json()["imported"]) == (200, 3)
    assert directory.records[b"a"][0] == b"second"


def test_a_value_that_no_put_may_have_is_refused(directory: Asked) -> None:
    """It went to the bucket, which hung up on all that the directory had asked it, for a minute."""
    limits = Limits(max_value_bytes=10)
    assert said(sent(directory, line("a"), line("b", "v" * 11), limits=limits)) == (413, 1, 2)
    assert directory.records.keys() == {b"a"}


def test_large_values_are_not_put_together(directory: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they made a message that is longer than a bucket takes."""
    monkeypatch.setattr(transfer, "_AT_ONCE_BYTES", 100)
    assert sent(directory, line("a"), line("b"), line("c", "v" * 99), line("d", "v" * 200), line("e")).status == 200
    assert directory.batches == [2, 1, 1, 1]
    assert len(directory.records) == 5


@pytest.mark.parametrize("content_type", ["a\r\nX: y", "a\0", "\x7f", "\u00e9"])
def test_a_type_that_no_header_may_have_is_refused(directory: Asked, content_type: str) -> None:
    """No GET could answer with it."""
    assert said(sent(directory, line("a", content_type=content_type))) == (422, 0, 1)
    assert not directory.records


def test_lines_that_do_not_end_take_room_like_bodies() -> None:
    async def test() -> None:
        uploads = Uploads(Limits(max_value_bytes=100, max_upload_bytes=250))

        async def never() -> dict[str, Any]:
            return await asyncio.Future()

        held = [asyncio.create_task(uploads.next_chunk(never, 100)) for _ in range(3)]
        await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        assert [task.done() for task in held] == [True, False, False]
        assert isinstance(held[0].exception(), UploadTimeout)
        for task in held[1:]:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)

    asyncio.run(test())


def test_a_line_may_come_in_pieces(directory: Asked) -> None:
    whole = line("a", "long" * 100) + line("b")
    pieces = [whole[at : at + 50] for at in range(0, len(whole), 50)]
    answer = asyncio.run(ask(http_on(directory), "POST", b"/v1/import", headers=[NDJSON], body=pieces))
    assert answer.json() == {"imported": 2, "expired": 0}


def test_a_value_of_which_json_makes_six_times_as_much_is_taken(directory: Asked) -> None:
    """An export writes it so; the import of that was refused where a line was longer than base64 could be."""
    value = "\x01" * (MAX_VALUE_BYTES // 3)
    answer = sent(directory, line("a", value))
    assert (answer.status, answer.json()) == (200, {"imported": 1, "expired": 0})
    assert directory.records[b"a"][0] == value.encode()


def test_an_import_that_stops_arriving_does_not_say_that_nothing_was_stored(directory: Asked) -> None:
    limits = Limits(upload_stall_s=0.01)
    messages = [{"type": "http.request", "body": line("a"), "more_body": True}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = scope_of("POST", b"/v1/import", [NDJSON, (b"transfer-encoding", b"chunked")])
    asyncio.run(http_on(directory, limits)(scope, receive, send))
    told = msgspec.json.decode(sent[1]["body"])
    assert (sent[0]["status"], told["imported"], told["line"]) == (408, 1, 2)
    assert "stored" not in told["detail"]
