"""Bodies that stall, are too many or too much together, or break off: who gives way, and that nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serve_app.errors import UploadTimeout, ValueTooLarge
from serve_app.http.uploads import ClientGone, Uploads
from serve_app.settings import Limits
from tests.support.asgi_client import scope_of
from tests.support.fake_directory import FakeDirectory, http_on
from tests.support.problem import Answered, check_problem

_PATIENCE_S = 30.0


class Body:
    """A request body whose pieces come when the test says so."""

    def __init__(self, uploads: Uploads) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.asked = asyncio.Event()
        self.task = asyncio.create_task(uploads.read(scope_of("PUT", b"/put?key=a"), self._receive))

    async def _receive(self) -> dict[str, Any]:
        self.asked.set()
        return await self._messages.get()

    async def more(self, piece: bytes, *, last: bool = False) -> None:
        """Let a piece arrive, and wait until it was read."""
        self.asked.clear()
        self._messages.put_nowait({"type": "http.request", "body": piece, "more_body": not last})
        await self._taken()

    async def begun(self) -> None:
        """Wait until the body is being read."""
        await self.asked.wait()

    def break_off(self) -> None:
        """The client disconnects."""
        self._messages.put_nowait({"type": "http.disconnect"})

    async def _taken(self) -> None:
        waiting = asyncio.create_task(self.asked.wait())
        await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def outcome(self) -> bytes | str:
        """The body, or the name of what ended it."""
        try:
            return await self.task
        except (UploadTimeout, ValueTooLarge, ClientGone) as error:
            return type(error).__name__


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine, with a limit so that a hang fails."""

    async def limited() -> None:
        async with asyncio.timeout(_PATIENCE_S):
            await test()

    asyncio.run(limited())


def test_a_body_is_whole_however_it_comes() -> None:
    async def test() -> None:
        uploads = Uploads(Limits())
        body = Body(uploads)
        await body.more(b"a")
        await body.more(b"")
        await body.more(b"bc")
        await body.more(b"", last=True)
        assert await body.outcome() == b"abc"

    run(test)


def test_a_body_that_stops_arriving_is_ended() -> None:
    async def test() -> None:
        uploads = Uploads(Limits(upload_stall_s=0.01))
        silent, partly = Body(uploads), Body(uploads)
        await partly.more(b"a")
        for body in (silent, partly):
            with pytest.raises(UploadTimeout, match=r"no more of the body came for 0\.01 s; nothing was stored"):
                await body.task

    run(test)


def test_a_body_that_makes_progress_is_not_ended() -> None:
    """However long it takes as a whole: here over several sweeps, each of which ends one that stands still."""

    async def test() -> None:
        uploads = Uploads(Limits(upload_stall_s=0.2))
        slow = Body(uploads)
        for _ in range(3):
            still = Body(uploads)
            while not still.task.done():
                await slow.more(b"a")
                await asyncio.sleep(0.001)
            assert await still.outcome() == "UploadTimeout"
        await slow.more(b"", last=True)
        whole = await slow.outcome()
        assert isinstance(whole, bytes)
        assert set(whole) == set(b"a")

    run(test)


def test_where_there_are_too_many_the_most_stalled_gives_way() -> None:
    async def test() -> None:
        uploads = Uploads(Limits(max_uploads=3))
        first, second, third = Body(uploads), Body(uploads), Body(uploads)
        for body in (first, second, third):
            await body.more(b"1")
        await first.more(b"2")  # now the second has stood still for longest
        fourth = Body(uploads)
        assert await second.outcome() == "UploadTimeout"
        for body in (fourth, first, third):
            await body.more(b"!", last=True)
        assert [await body.outcome() for body in (first, third, fourth)] == [b"12!", b"1!", b"!"]

    run(test)


def test_a_flood_of_stalled_bodies_keeps_nobody_out() -> None:
    async def test() -> None:
        uploads = Uploads(Limits(max_uploads=16))
        flood = [Body(uploads) for _ in range(200)]
        await asyncio.gather(*(body.more(b"x") for body in flood))
        for number in range(50):
            honest = Body(uploads)
            await honest.more(b"%d" % number, last=True)
            assert await honest.outcome() == b"%d" % number
        ended = [body for body in flood if body.task.done()]
        assert len(ended) == 200 - 15, "as many went as others needed room, and no more"
        for body in flood:
            body.break_off()
        outcomes = [await body.outcome() for body in flood]
        assert outcomes.count("UploadTimeout") == len(ended)
        assert outcomes.count("ClientGone") == 15

    run(test)


def test_bytes_of_all_bodies_together_have_a_limit() -> None:
    async def test() -> None:
        uploads = Uploads(Limits(max_upload_bytes=100))
        old, small, new = Body(uploads), Body(uploads), Body(uploads)
        await old.more(b"o" * 40)
        await small.more(b"s" * 10)
        await new.more(b"n" * 50)
        assert not old.task.done(), "100 fit"
        await new.more(b"n")
        assert await old.outcome() == "UploadTimeout"
        await new.more(b"n" * 38)  # 99 of 100: what the first held is free again
        await small.more(b"s", last=True)
        await new.more(b"", last=True)
        assert await small.outcome() == b"s" * 11
        assert await new.outcome() == b"n" * 89

    run(test)


def test_no_more_bodies_give_way_than_make_room() -> None:
    """Several pieces may come before those that give way have noticed."""

    async def test() -> None:
        uploads = Uploads(Limits(max_upload_bytes=100))
        stalled = [Body(uploads) for _ in range(5)]
        for body in stalled:
            await body.more(b"x" * 19)
        new = [Body(uploads) for _ in range(4)]
        await asyncio.gather(*(body.begun() for body in new))
        await asyncio.gather(*(body.more(b"n" * 5) for body in new))  # 95 + 20: one has to go
        assert [body.task.done() for body in stalled] == [True, False, False, False, False]
        for body in stalled[1:]:
            await body.more(b"", last=True)
            assert await body.outcome() == b"x" * 19
        for body in new:
            await body.more(b"", last=True)
            assert await body.outcome() == b"n" * 5

    run(test)


@pytest.mark.parametrize("last", [False, True])
def test_a_body_that_alone_takes_too_much_is_ended_before_it_counts_as_read(last: bool) -> None:
    async def test() -> None:
        uploads = Uploads(Limits(max_upload_bytes=100))
        body = Body(uploads)
        await body.more(b"x" * 101, last=last)
        assert await body.outcome() == "UploadTimeout"
        await asyncio.sleep(0)
        assert body.task.cancelling() == 0, "the cancellation went nowhere else"

    run(test)


def test_a_body_that_breaks_off_or_is_too_large_leaves_its_room_to_others() -> None:
    async def test() -> None:
        uploads = Uploads(Limits(max_uploads=2, max_upload_bytes=100, max_value_bytes=60))
        for _ in range(10):
            gone, large = Body(uploads), Body(uploads)
            await gone.more(b"g" * 40)
            await large.more(b"l" * 60)
            gone.break_off()
            assert await gone.outcome() == "ClientGone"
            await large.more(b"l")
            assert await large.outcome() == "ValueTooLarge"
        one, two = Body(uploads), Body(uploads)
        await one.more(b"1" * 50, last=True)
        await two.more(b"2" * 50, last=True)
        assert (await one.outcome(), await two.outcome()) == (b"1" * 50, b"2" * 50)

    run(test)


def test_the_servers_own_cancellation_stays_one() -> None:
    async def test() -> None:
        uploads = Uploads(Limits())
        body = Body(uploads)
        await body.more(b"a")
        body.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await body.task
        assert body.task.cancelled()

    run(test)


# -- through the whole application -----------------------------------------------------------------------------------


class Request:
    """A PUT to the application whose body comes in pieces."""

    def __init__(self, app: Any, target: bytes) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.hungry = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        scope = scope_of("PUT", target, [(b"transfer-encoding", b"chunked")])
        self.task: asyncio.Task[None] = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self.messages.empty():
            self.hungry.set()
        return await self.messages.get()

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def put(self, piece: bytes, *, last: bool = False) -> None:
        self.messages.put_nowait({"type": "http.request", "body": piece, "more_body": not last})

    async def answer(self) -> Answered:
        await self.task
        headers = {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}
        return Answered(self.sent[0]["status"], headers, b"".join(message["body"] for message in self.sent[1:]))


def test_a_stalled_put_is_answered_408_and_stores_nothing() -> None:
    async def test() -> None:
        directory = FakeDirectory()
        app = http_on(directory, Limits(max_uploads=1, upload_stall_s=0.01))
        stalled = Request(app, b"/put?key=a")
        stalled.put(b"x")
        detail = check_problem(await stalled.answer(), 408)
        assert "nothing was stored" in detail
        assert not directory.records

    run(test)


def test_a_put_gives_way_and_the_other_is_stored() -> None:
    async def test() -> None:
        directory = FakeDirectory()
        app = http_on(directory, Limits(max_uploads=1))
        stalled = Request(app, b"/put?key=a")
        stalled.put(b"x")
        await stalled.hungry.wait()
        honest = Request(app, b"/put?key=b")
        honest.put(b"y", last=True)
        assert (await honest.answer()).status == 200
        assert "more request bodies" in check_problem(await stalled.answer(), 408)
        assert set(directory.records) == {b"b"}

    run(test)


def test_a_put_whose_client_leaves_is_not_answered_and_stores_nothing() -> None:
    async def test() -> None:
        directory = FakeDirectory()
        request = Request(http_on(directory), b"/put?key=a")
        request.put(b"x")
        request.messages.put_nowait({"type": "http.disconnect"})
        await request.task
        assert not request.sent
        assert not directory.records

    run(test)


def test_a_limit_met_by_the_last_piece_stores_nothing() -> None:
    """The answer says that nothing was stored, so it must not have been sent to the bucket either."""

    async def test() -> None:
        directory = FakeDirectory()
        request = Request(http_on(directory, Limits(max_upload_bytes=10)), b"/put?key=a")
        request.put(b"x" * 11, last=True)
        check_problem(await request.answer(), 408)
        assert not directory.records

    run(test)
