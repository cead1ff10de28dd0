"""Exports that break at any byte go on where they were, and imports say which line of the file was refused."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_storage import AsyncStore, Imported, Interrupted, Refused, Store, Unavailable, transfer
from cloud_storage.steps import Broken
from tests.client.served import Relay, Served

KEYS = [f"transfer/{number:03}ä\n" for number in range(40)]


@pytest.fixture(scope="module")
def filled(http_store: Served) -> Served:
    with Store(http_store.url) as store:
        store.put_many((key, key * 40 if number % 5 else b"\xff" + key.encode()) for number, key in enumerate(KEYS))
    return http_store


@pytest.fixture
def relay(filled: Served) -> Iterator[Relay]:
    relay = Relay(filled.url)
    yield relay
    relay.close()


def exported(url: str) -> bytes:
    file = io.BytesIO()
    with Store(url) as store:
        assert store.export(file, "transfer/") == len(KEYS)
    return file.getvalue()


def test_an_export_that_breaks_anywhere_goes_on_where_it_was(filled: Served, relay: Relay) -> None:
    whole = exported(filled.url)
    for broken_at in range(0, len(whole) + 600, 97):
        relay.answer_bytes = broken_at
        assert exported(relay.url) == whole, broken_at


def test_the_same_for_asyncio(filled: Served, relay: Relay) -> None:
    whole = exported(filled.url)

    async def run() -> None:
        for broken_at in range(0, len(whole), 487):
            async with AsyncStore(relay.url) as store:
                relay.answer_bytes = broken_at
                file = io.BytesIO()
                assert await store.export(file, "transfer/") == len(KEYS)
                assert file.getvalue() == whole, broken_at

    asyncio.run(run())


def test_an_export_begins_behind_a_key_and_says_how_far_it_is(filled: Served) -> None:
    file, told = io.BytesIO(), list[tuple[int, int]]()
    with Store(filled.url) as store:
        count = store.export(
            file, "transfer/", start_after=KEYS[9], on_progress=lambda records, size: told.append((records, size))
        )
    lines = file.getvalue().splitlines(keepends=True)
    assert [json.loads(line)["key"] for line in lines[:-1]] == KEYS[10:]
    assert json.loads(lines[-1]) == {"exported": 30}
    assert count == 30
    assert told[-1] == (30, sum(map(len, lines[:-1])))


RECORD = b'{"key":"%d","value":"exported"}\n'
STREAM = b"".join(RECORD % number for number in range(5)) + b'{"exported":5}\n'


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_lines_do_not_depend_on_how_the_bytes_come(cuts: list[int]) -> None:
    lines = transfer.Lines()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = b"".join(lines.feed(STREAM[start:end]) for start, end in itertools.pairwise(edges))
    assert found + lines.ending() == STREAM


def test_an_export_that_the_store_could_not_go_on_with_says_why() -> None:
    lines = transfer.Lines()
    assert lines.feed(RECORD % 1 + b'{"failed":{"detail":"bucket-1 is away"}}\n') == RECORD % 1
    with pytest.raises(Broken, match="bucket-1 is away"):
        lines.ending()
    assert "start_after=1" in lines.request("").target
    with pytest.raises(Broken, match="it ended early"):
        lines.ending()


def test_an_export_is_interrupted_only_once_it_has_begun() -> None:
    for begun, error in ((False, Unavailable), (True, Interrupted)):
        lines = transfer.Lines()
        lines.feed(RECORD % 1 if begun else b"")
        with pytest.raises(error), lines.interrupted():
            raise Unavailable("away")


def test_an_import_names_the_line_of_the_file_and_says_how_far_it_is(
    http_store: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", 100)
    lines = [json.dumps({"key": f"import/{number}", "value": "v"}).encode() + b"\n" for number in range(20)]
    told: list[tuple[int, int]] = []
    with Store(http_store.url) as store:
        done = store.import_(io.BytesIO(b"".join(lines)), on_progress=lambda *done: told.append(done))
        assert done == Imported(20, 0)
        assert told[-1] == (20, sum(map(len, lines)))
        assert len(told) > 5
        lines[16] = b'{"key":""}\n'
        with pytest.raises(Refused, match=r"^line 17: [^:]*$"):
            store.import_(io.BytesIO(b"".join(lines)))

    async def run() -> None:
        async with AsyncStore(http_store.url) as store:
            with pytest.raises(Refused, match=r"^line 17: "):
                await store.import_(io.BytesIO(b"".join(lines)))

    asyncio.run(run())


def test_why_something_is_sent_again_is_told(relay: Relay) -> None:
    told: list[str] = []
    with Store(relay.url, on_retry=told.append) as store:
        relay.answer_bytes = 10
        assert store.get(KEYS[0]) is not None
        assert len(told) == 1

    async def run() -> None:
        async with AsyncStore(relay.url, on_retry=told.append) as store:
            relay.answer_bytes = 10
            assert await store.get(KEYS[0]) is not None

    asyncio.run(run())
    assert len(told) == 2
    assert all(told)
