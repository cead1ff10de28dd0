"""A bucket's records in the order of their names, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.bucket import listing
from serve_app.bucket.listing import page
from serve_app.bucket.standing import Served, Standing
from serve_app.operations import Get, Missing, Put
from serve_app.placement import bucket_of
from serve_app.records import Record, encode
from serve_app.topology import Topology
from serve_app.wire.messages import MAX_LISTED, Entry, Install, List, Listed, Moved, Refused
from tests.support.clock import HOUR_MS, Clock
from tests.support.local_store import run_async, until
from tests.support.memory_engine import MemoryEngine
from tests.support.raw_client import RawClient, greeted, serving

STABLE = Topology(1, 1, 1, "store", ("zero",))


def asking(
    start_after: bytes = b"", prefix: bytes = b"", delimiter: bytes = b"", limit: int = 1000, **more: Any
) -> List:
    return List(start_after, prefix, delimiter, limit, more.get("values", False), more.get("taken", False))


async def listed(client: RawClient, asked: List, epoch: int = 1) -> Listed:
    (answer,) = await client.ask(asked, epoch=epoch)
    assert isinstance(answer, Listed), answer
    return answer


def names(answer: Listed) -> tuple[list[bytes], list[bytes], bytes]:
    return [entry.key for entry in answer.entries], answer.prefixes, answer.upto


class FakeBucket:
    """A `ReadBucket`."""

    bucket_id = 0

    def __init__(self, keys: set[bytes], topology: Topology = STABLE) -> None:
        self.engine = MemoryEngine()
        self.engine.write([(key, encode(Record(b"v", "", 1, 1, 1))) for key in keys], [])
        self.served = Served(Standing(topology, None, {}))
        self.clock: Callable[[], float] = lambda: 0.0
        self.now_ms: Callable[[], int] = lambda: 10

    def note_error(self, error: Exception) -> None:
        raise AssertionError(error)


def expected_names(keys: set[bytes], prefix: bytes, delimiter: bytes) -> list[bytes]:
    """All names in order: a key's own, or that of all keys which have the delimiter at the same place."""
    found = set()
    for key in keys:
        if key.startswith(prefix):
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            found.add(key if at < 0 else key[: at + len(delimiter)])
    return sorted(found)


PARTS = st.lists(st.sampled_from([b"a", b"b", b"/", b"//", b"\0", "ü".encode()]), max_size=5).map(b"".join)


@settings(max_examples=400)
@given(
    keys=st.sets(PARTS.filter(bool), max_size=20),
    prefix=PARTS,
    delimiter=st.sampled_from([b"", b"/", b"//", b"a", b"\0"]),
    start_after=PARTS,
    limit=st.integers(1, 5),
)
def test_pages_have_every_name_once_and_in_order(
    keys: set[bytes], prefix: bytes, delimiter: bytes, start_after: bytes, limit: int
) -> None:
    bucket = FakeBucket(keys)
    seen: list[bytes] = []
    after = start_after
    for _ in range(100):
        found = page(bucket, asking(after, prefix, delimiter, limit), 1).answer
        assert isinstance(found, Listed)
        assert len(found.entries) + len(found.prefixes) <= limit
        seen += sorted([*(entry.key for entry in found.entries), *found.prefixes])
        after = found.upto
        if not after:
            break
    assert after == b""
    every = expected_names({key for key in keys if key > start_after}, prefix, delimiter)
    # From a name that others have too it goes on behind all of them; from within such a name it is told of the rest.
    rolled = delimiter and expected_names({start_after}, prefix, delimiter) == [start_after]
    shared = rolled and delimiter in start_after[len(prefix) :]
    assert seen == [name for name in every if not (shared and name == start_after)]


@settings(max_examples=400)
@given(
    live=st.sets(PARTS.filter(bool), max_size=20),
    expired=st.sets(PARTS.filter(bool), max_size=20),
    prefix=PARTS,
    delimiter=st.sampled_from([b"", b"/", b"//", b"a"]),
    limit=st.integers(1, 5),
)
def test_what_has_expired_hides_no_name_from_any_page(
    live: set[bytes], expired: set[bytes], prefix: bytes, delimiter: bytes, limit: int
) -> None:
    """A page that ended on an expired key within a name hid the name's other keys."""
    bucket = FakeBucket(live)
    bucket.engine.write([(key, encode(Record(b"v", "", 1, 1, 1, 10))) for key in expired - live], [])
    seen: list[bytes] = []
    after = b""
    for _ in range(100):
        found = page(bucket, asking(after, prefix, delimiter, limit), 1)
        assert isinstance(found.answer, Listed)
        seen += sorted([*(entry.key for entry in found.answer.entries), *found.answer.prefixes])
        bucket.engine.write([(key, None) for key in found.expired], [])
        after = found.answer.upto
        if not after:
            break
    assert after == b""
    assert seen == expected_names(live, prefix, delimiter)


@run_async
async def test_a_record_is_told_with_what_is_known_of_it() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        made_ms = clock.now_ms
        await client.ask(Put(b"a", b"value", "a/b"), Put(b"b", b"", "", ttl_ms=HOUR_MS))
        clock.advance(5)
        await client.ask(Put(b"a", b"other one", "c/d"))
        entries = [
            Entry(b"a", 9, "c/d", 3, made_ms, made_ms + 5, 0),
            Entry(b"b", 0, "", 2, made_ms, made_ms, made_ms + HOUR_MS),
        ]
        assert await listed(client, asking()) == Listed(entries, [], b"")
        entries[0].value = b"other one"
        assert await listed(client, asking(values=True)) == Listed(entries, [], b"")


@run_async
async def test_a_page_ends_where_there_is_enough() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        await client.ask(*(Put(key, b"v", "") for key in (b"a", b"d/1", b"d/2", b"e", b"f/1", b"g")))
        assert names(await listed(client, asking(limit=2))) == ([b"a", b"d/1"], [], b"d/1")
        assert names(await listed(client, asking(b"d/1", limit=4))) == ([b"d/2", b"e", b"f/1", b"g"], [], b"")
        assert names(await listed(client, asking(delimiter=b"/", limit=2))) == ([b"a"], [b"d/"], b"d/")
        assert names(await listed(client, asking(b"d/", delimiter=b"/", limit=2))) == ([b"e"], [b"f/"], b"f/")
        assert names(await listed(client, asking(b"f/", delimiter=b"/", limit=2))) == ([b"g"], [], b"")
        assert names(await listed(client, asking(prefix=b"d/", delimiter=b"/"))) == ([b"d/1", b"d/2"], [], b"")
        assert names(await listed(client, asking(prefix=b"d", delimiter=b"/"))) == ([], [b"d/"], b"")
        assert names(await listed(client, asking(b"z"))) == ([], [], b"")


@pytest.mark.parametrize(
    "bound", ["_MAX_SCANNED", "_MAX_SCANNED_BYTES", "_MAX_PAGE_BYTES"], ids=["records", "bytes", "bytes of the page"]
)
def test_a_page_is_no_longer_than_what_one_thread_may_read(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, bound, {"_MAX_SCANNED": 2, "_MAX_SCANNED_BYTES": 80, "_MAX_PAGE_BYTES": 4}[bound])
    bucket = FakeBucket({b"a", b"b", b"c", b"d", b"e"})
    after = b""
    pages: list[list[bytes]] = []
    while after or not pages:
        found = page(bucket, asking(after, values=True), 1).answer
        assert isinstance(found, Listed)
        pages.append([entry.key for entry in found.entries])
        after = found.upto
    most = max(map(len, pages))
    assert most in (2, 3)
    assert [key for some in pages for key in some] == [b"a", b"b", b"c", b"d", b"e"]


def test_what_does_not_fit_beside_the_rest_of_a_page_comes_alone_on_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is one message: a large value behind a small one made it longer than a message may be."""
    monkeypatch.setattr(listing, "_MAX_PAGE_BYTES", 100)
    bucket = FakeBucket({b"a", b"d/1", b"d/2", b"z"})
    bucket.engine.write([(key, encode(Record(b"v" * 99, "", 1, 1, 1))) for key in (b"b", b"c", b"e")], [])
    after = b""
    pages: list[tuple[list[bytes], list[bytes]]] = []
    while after or not pages:
        found = page(bucket, asking(after, delimiter=b"/", values=True), 1).answer
        assert isinstance(found, Listed)
        *some, after = names(found)
        pages.append((some[0], some[1]))
    assert pages == [([b"a"], []), ([b"b"], []), ([b"c"], []), ([], [b"d/"]), ([b"e"], []), ([b"z"], [])]


@pytest.mark.parametrize(
    "asked",
    [asking(limit=0), asking(limit=MAX_LISTED + 1), asking(b"x" * 1025), asking(prefix=b"x" * 1025)],
    ids=["none", "too many", "a name that is too long", "a prefix that is too long"],
)
@run_async
async def test_what_no_directory_would_ask_is_refused(asked: List) -> None:
    async with serving() as bucket:
        (refused,) = await (await greeted(bucket)).ask(asked, epoch=1)
        assert isinstance(refused, Refused)
        assert refused.reason == "invalid"


@run_async
async def test_what_has_expired_is_hidden_and_gone_by_then() -> None:
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        client = await greeted(bucket)
        await client.ask(*(Put(b"k%d" % number, b"v", "", ttl_ms=HOUR_MS * (1 + number % 2)) for number in range(6)))
        clock.advance(HOUR_MS)
        assert names(await listed(client, asking())) == ([b"k1", b"k3", b"k5"], [], b"")
        assert bucket.records.keys() == {b"k1", b"k3", b"k5"}
        clock.advance(-HOUR_MS)
        assert await client.ask(Get(b"k0")) == [Missing()]
        assert names(await listed(client, asking())) == ([b"k1", b"k3", b"k5"], [], b"")


def test_what_has_expired_is_no_name_for_others() -> None:
    bucket = FakeBucket({b"d/live", b"e"})
    bucket.engine.write([(b"d/dead", encode(Record(b"v", "", 1, 1, 1, 10)))], [])
    bucket.engine.write([(b"x/dead", encode(Record(b"v", "", 1, 1, 1, 10)))], [])
    bucket.engine.write([(b"y/soon", encode(Record(b"v", "", 1, 1, 1, 11)))], [])
    found = page(bucket, asking(delimiter=b"/"), 1)
    assert found.expired == [b"d/dead", b"x/dead"]
    assert found.answer == Listed([Entry(b"e", 1, "", 1, 1, 1, 0)], [b"d/", b"y/"], b"")


def test_while_keys_move_those_that_came_are_told_apart_from_those_that_were_here() -> None:
    """So that whoever asks every bucket for the former, and for the latter then, misses none that moves in between."""
    keys = {b"k%d" % number for number in range(40)}
    own = sorted(key for key in keys if bucket_of(key, 2) == 0)
    bucket = FakeBucket(keys, Topology(7, 2, 1, "store", ("zero", "one"), move_epoch=7))
    for taken, expected in ((False, own), (True, sorted(keys - set(own)))):
        assert names(page(bucket, asking(taken=taken), 7).answer)[0] == expected  # type: ignore[arg-type]
    stable = FakeBucket(keys)
    assert names(page(stable, asking(taken=True), 1).answer) == ([], [], b"")  # type: ignore[arg-type]


@run_async
async def test_a_bucket_is_asked_by_the_topology_that_it_has() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        inner = bucket.server.bucket  # type: ignore[union-attr]
        topology = inner.standing.topology
        for epoch in (0, 2):
            assert await client.ask(asking(), epoch=epoch) == [Moved(topology)]
        other = Topology(2, 1, 1, "store", (inner.identity,))
        await client.ask(Install(other))
        assert await client.ask(asking(), epoch=1) == [Moved(other)]
        assert names(await listed(client, asking(), 2)) == ([], [], b"")


def test_a_page_under_which_the_topology_has_changed_is_none() -> None:
    bucket = FakeBucket({b"a"})
    later = Topology(2, 1, 1, "store", ("zero",))
    scan = bucket.engine.scan

    def overtaken(start: bytes = b"", end: bytes | None = None) -> Any:
        bucket.served = Served(Standing(later, None, {}))
        return scan(start, end)

    bucket.engine.scan = overtaken  # type: ignore[method-assign]
    assert page(bucket, asking(), 1) == (Moved(later), [], 0)


@run_async
async def test_damage_is_told() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        await client.ask(Put(b"a", b"v", ""), Put(b"bad", b"v", ""))
        bucket.engine.damaged = {b"bad"}
        (refused,) = await client.ask(asking(), epoch=1)
        assert isinstance(refused, Refused)
        assert refused.reason == "fault"
        await until(lambda: "bad" in bucket.server.bucket.last_error)  # type: ignore[union-attr]
        assert names(await listed(client, asking(prefix=b"a"))) == ([b"a"], [], b"")
