"""Watches that are told values: in pieces that are kept and shared where they are small, in parts where they are not."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator

import pytest

from serve_app.auth.access import OPEN, grant
from serve_app.bucket import batch_room
from serve_app.directory.directory import Directory
from serve_app.http.streams import Large, Piece, plain
from serve_app.http.v1 import watch
from serve_app.http.v1.large_values import LARGE_VALUE_BYTES
from serve_app.http.v1.watch import Watching
from tests.support.asgi_client import scope_of
from tests.support.asking import delete, put
from tests.support.local_store import local_store, run_async

_ID = re.compile(rb"^id: (\S+)$", re.MULTILINE)


async def told(directory: Directory, last_id: bytes = b"") -> AsyncIterator[bytes]:
    """The pieces of a watch with values, from then on or from an id on."""
    scope = scope_of("GET", b"/v1/watch?values=true", [(b"last-event-id", last_id)] if last_id else [])
    grant(scope, OPEN)

    async def receive() -> dict[str, object]:
        return await asyncio.Future()

    pieces = plain((await Watching(directory).watch(scope, receive)).pieces)
    assert await anext(pieces) == b": watching\nretry: 1000\n\n"
    return pieces


async def begun(watching: Watching) -> AsyncIterator[Piece]:
    """The pieces of a watch with values, once it has begun."""
    scope = scope_of("GET", b"/v1/watch?values=true")
    grant(scope, OPEN)
    pieces = (await watching.watch(scope, asyncio.Future)).pieces
    await anext(pieces)
    return pieces


async def until_told(pieces: AsyncIterator[bytes], what: bytes) -> list[bytes]:
    """The pieces up to the one with that in it, which ends with an id."""
    found: list[bytes] = []
    async with asyncio.timeout(20):
        while not found or what not in b"".join(found) or not _ID.search(found[-1]):
            found.append(await anext(pieces))
    return found


@run_async
async def test_a_value_that_no_batch_is_answered_with_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked for again and again, and nothing more was told."""
    monkeypatch.setattr(batch_room, "MAX_ANSWER_BYTES", 1000)
    async with local_store(1) as store:
        directory = await store.directory()
        pieces = await told(directory)
        await put(directory, b"large", b"v" * 1001)
        await until_told(pieces, b"v" * 1001)
        await put(directory, b"small", b"v")
        await until_told(pieces, b'"small"')
        await pieces.aclose()  # type: ignore[attr-defined]
        assert directory.watches.count == 0


@run_async
async def test_many_values_are_told_in_parts_of_which_the_last_has_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one piece they could be more than there is memory: a watch that comes back is told much together."""
    monkeypatch.setattr(watch, "_MAX_PIECE_BYTES", 300)
    async with local_store(2) as store:
        directory = await store.directory()
        pieces = await told(directory)
        await put(directory, b"first", b"1")
        (start,) = _ID.findall((await until_told(pieces, b'"first"'))[-1])
        for number in range(20):
            await put(directory, b"k%02d" % (number % 10), b"%d" % number * 100)
        await delete(directory, b"k03")
        await put(directory, b"last", b"1")
        back = await told(directory, start)
        parts = await until_told(back, b'"last"')
        assert max(map(len, parts)) < 700
        assert len(parts) > 5
        every = b"".join(parts)
        keys = re.findall(rb'event: (\w+)\ndata: \{"key":"(\w+)"', every)
        assert sorted(key for kind, key in keys if kind == b"put") == sorted(
            [b"last", *(b"k%02d" % number for number in range(10) if number != 3)]
        )
        assert keys.count((b"delete", b"k03")) == 1
        # Whoever goes away after a part comes back with the last id that it was told.
        for number, part in enumerate(parts[:-1]):
            if ids := _ID.findall(part):
                resumed = await told(directory, ids[-1])
                rest = await until_told(resumed, b'"last"')
                await resumed.aclose()  # type: ignore[attr-defined]
                told_again = set(re.findall(rb'"key":"(\w+)"', b"".join([*parts[: number + 1], *rest])))
                assert told_again == {key for _, key in keys}
        # Each event ends with an empty line, as one piece would have it.
        assert len(re.findall(rb"\n\nevent: |^event: ", every)) == len(keys)
        for each in (pieces, back):
            await each.aclose()  # type: ignore[attr-defined]


@run_async
async def test_a_watch_that_ends_before_it_is_followed_counts_no_more() -> None:
    async with local_store(1) as store:
        directory = await store.directory()
        pieces = await told(directory)
        await pieces.aclose()  # type: ignore[attr-defined]
        assert directory.watches.count == 0


@run_async
async def test_a_large_value_is_told_bit_by_bit_as_json_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is no text, and where a character is cut by the end of a bit."""
    monkeypatch.setattr(watch, "_MAX_PIECE_BYTES", 1000)
    async with local_store(1) as store:
        directory = await store.directory()
        pieces = await told(directory)
        for key, value in (
            (b"text", ('a"\n\x01é€😀' * 60_000).encode()),
            (b"bytes", b"\xff\x00" * LARGE_VALUE_BYTES),
            (b"half", b"a" * LARGE_VALUE_BYTES + "é".encode()[:1]),
        ):
            await put(directory, key, value)
            event = b"".join(await until_told(pieces, b'"%b"' % key))
            (line,) = (line for line in event.split(b"\n") if line.startswith(b"data: "))
            data = json.loads(line.removeprefix(b"data: "))
            assert data.pop("key") == key.decode()
            assert data.pop("revision") > 0
            assert data.pop("content_type") == ""
            ((name, found),) = data.items()
            assert (base64.b64decode(found) if name == "value_base64" else found.encode()) == value


@run_async
async def test_those_who_are_told_one_large_value_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_MAX_PIECE_BYTES", 1000)
    async with local_store(1) as store:
        directory = await store.directory()
        watching = Watching(directory)
        streams = [await begun(watching) for _ in range(3)]
        await put(directory, b"large", b"v" * LARGE_VALUE_BYTES)
        sources = []
        for pieces in streams:
            async with asyncio.timeout(20):
                while not isinstance(piece := await anext(pieces), Large):
                    pass
            sources.append(piece.source)
        assert sources[0] is sources[1] is sources[2]
        assert len(watching._large) == 1
        for pieces in streams:
            await pieces.aclose()  # type: ignore[attr-defined]
        assert not watching._large
