"""Large answers that clients are slow to read: what they may hold in memory together, and who gives way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serve_app.http import downloads
from serve_app.settings import Limits
from tests.support.asgi_client import scope_of
from tests.support.fake_directory import FakeDirectory, http_on
from tests.support.problem import Answered, check_problem

_PATIENCE_S = 30.0
_LARGE = b"v" * 300_000
#: Room for one large answer and not for two.
_LIMITS = Limits(max_response_bytes=500_000)


class Reader:
    """A client that takes as many messages of its answer as the test lets it."""

    def __init__(self, app: Any, method: str, target: bytes, *, takes: int | None = None) -> None:
        self.sent: list[dict[str, Any]] = []
        self._takes = takes
        self._more = asyncio.Condition()
        self.stuck = asyncio.Event()
        self.task: asyncio.Task[None] = asyncio.create_task(app(scope_of(method, target), self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: dict[str, Any]) -> None:
        """As uvicorn does it: what was handed over before must have left first, then this is taken at once."""
        if self._takes is not None and len(self.sent) >= self._takes:
            self.stuck.set()
            await asyncio.Future()
        self.sent.append(message)

    @property
    def complete(self) -> bool:
        return bool(self.sent) and not self.sent[-1].get("more_body", self.sent[-1]["type"] == "http.response.start")

    @property
    def answer(self) -> Answered:
        headers = {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}
        return Answered(self.sent[0]["status"], headers, b"".join(message["body"] for message in self.sent[1:]))


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine, with a limit so that a hang fails."""

    async def limited() -> None:
        async with asyncio.timeout(_PATIENCE_S):
            await test()

    asyncio.run(limited())


def store_with_large_values() -> FakeDirectory:
    directory = FakeDirectory()
    directory.records = {b"%d" % number: (_LARGE, "text/plain") for number in range(10)}
    return directory


@pytest.mark.parametrize("size", [0, 1, downloads.LARGE_BYTES, downloads.CHUNK_BYTES, 3 * downloads.CHUNK_BYTES + 1])
def test_an_answer_of_any_size_is_whole(size: int) -> None:
    async def test() -> None:
        directory = FakeDirectory()
        directory.records[b"a"] = (b"v" * size, "text/plain")
        reader = Reader(http_on(directory), "GET", b"/get/a")
        await reader.task
        assert reader.complete
        assert reader.answer.json()["value"] == "v" * size
        assert int(reader.answer.headers["content-length"]) == len(reader.answer.body)

    run(test)


def test_a_large_answer_is_handed_over_in_chunks() -> None:
    """Only so does the memory it takes show: the server buffers whatever it is handed at once."""

    async def test() -> None:
        reader = Reader(http_on(store_with_large_values()), "GET", b"/get/1")
        await reader.task
        chunks = [len(message["body"]) for message in reader.sent[1:]]
        assert max(chunks) <= downloads.CHUNK_BYTES
        assert chunks[-1] == 0, "handed over once all but the server's low-water mark has left"

    run(test)


def test_many_that_read_are_all_answered() -> None:
    async def test() -> None:
        app = http_on(store_with_large_values(), _LIMITS)
        for _ in range(20):
            reader = Reader(app, "GET", b"/get/1")
            await reader.task
            assert reader.answer.status == 200

    run(test)


def test_where_all_are_reading_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(downloads, "STALLED_S", 3600.0)
        app = http_on(store_with_large_values(), _LIMITS)
        slow = Reader(app, "GET", b"/get/1", takes=2)
        await slow.stuck.wait()
        refused = Reader(app, "GET", b"/get/2")
        await refused.task
        assert "large answers" in check_problem(refused.answer, 503)
        assert refused.answer.headers["retry-after"] == "1"
        small = Reader(app, "GET", b"/get/none")
        await small.task
        check_problem(small.answer, 404)
        slow.task.cancel()
        await asyncio.wait({slow.task})
        assert slow.task.cancelled()
        after = Reader(app, "GET", b"/get/2")
        await after.task
        assert after.answer.status == 200, "what the first held is free again"

    run(test)


def test_one_that_stopped_reading_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(downloads, "STALLED_S", 0.0)
        app = http_on(store_with_large_values(), _LIMITS)
        stalled = [Reader(app, "GET", b"/get/1", takes=2)]
        await stalled[0].stuck.wait()
        for _ in range(5):
            stalled.append(Reader(app, "GET", b"/get/2", takes=2))
            await stalled[-1].stuck.wait()
            await stalled[-2].task  # broken off, without an error
            assert not stalled[-2].complete
        reader = Reader(app, "GET", b"/get/3")
        await reader.task
        assert reader.answer.json()["value"] == _LARGE.decode()

    run(test)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_has_happened_is_answered_though_there_is_no_room(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(downloads, "STALLED_S", 3600.0)
        app = http_on(store_with_large_values(), _LIMITS)
        slow = Reader(app, "GET", b"/get/1", takes=2)
        await slow.stuck.wait()
        target = b"/delete/2" if method == "DELETE" else b"/put?key=2&value=" + _LARGE
        changed = Reader(app, method, target)
        await changed.task
        assert changed.answer.json()["value"] == _LARGE.decode()
        slow.task.cancel()

    run(test)
