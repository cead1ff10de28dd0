"""Connections that break at every byte of a request and of an answer: no call is left without an answer, and no write happens
twice."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from cloud_storage import AsyncStore, Event, Store
from tests.client.served import Relay, Served


@pytest.fixture
def relay(http_store: Served) -> Iterator[Relay]:
    relay = Relay(http_store.url)
    yield relay
    relay.close()


def lengths(relay: Relay, key: str) -> tuple[int, int]:
    """Bytes of a request for an increment, and of its answer."""
    with Store(relay.url) as store:
        store.increment(key)
    while relay.passed == (0, 0):
        pass
    return relay.passed


def test_an_increment_happens_once_wherever_its_connection_breaks(relay: Relay) -> None:
    request_bytes, answer_bytes = lengths(relay, "cut/sync")
    assert request_bytes > 100
    expected = 1
    for number in range(request_bytes + 1):
        with Store(relay.url) as store:
            relay.request_bytes = number
            expected += 1
            assert store.increment("cut/sync") == expected
    for number in range(answer_bytes):
        with Store(relay.url) as store:
            relay.answer_bytes = number
            expected += 1
            assert store.increment("cut/sync") == expected
    assert relay.connections > 2 * expected - 20, "each was cut, and came again"


def test_the_same_for_asyncio(relay: Relay) -> None:
    request_bytes, answer_bytes = lengths(relay, "cut/async")

    async def run() -> None:
        expected = 1
        for way, most in (("request_bytes", request_bytes + 1), ("answer_bytes", answer_bytes)):
            for number in range(most):
                async with AsyncStore(relay.url) as store:
                    setattr(relay, way, number)
                    expected += 1
                    assert await store.increment("cut/async") == expected

    asyncio.run(run())


@pytest.mark.parametrize("way", ["request_bytes", "answer_bytes"])
def test_many_puts_are_all_there_where_connections_break(relay: Relay, way: str) -> None:
    values = {f"cut/{way}/{number}": f"{number}" for number in range(1500)}
    with Store(relay.url) as store:
        for number in (0, 10, 300, 5000):
            setattr(relay, way, number)
            assert store.put_many(values) == len(values)
            setattr(relay, way, number)
            found = store.get_many(values)
            assert {key: record.text for key, record in found.items()} == values


def test_a_kept_connection_that_the_store_has_closed_is_no_trouble(relay: Relay) -> None:
    with Store(relay.url) as store:
        relay.answer_bytes = 10_000
        for number in range(200):  # on the way it breaks between two requests, or in one
            assert store.increment("cut/kept") == number + 1


def test_a_watch_goes_on_wherever_it_is_cut(relay: Relay, http_store: Served) -> None:
    """Also in the middle of a line."""
    with Store(http_store.url) as store:
        store.put("cut/watch/", b"")
        watch = store.watch("cut/watch/", existing=True)
        assert next(watch).key == "cut/watch/", "it has begun"
        store.put("cut/watch/0", b"")
        since = next(event.id for event in watch if event.id)
        for number in range(1, 4):
            store.put(f"cut/watch/{number}", f"value {number}")
    wanted = [f"value {number}" for number in range(1, 4)]

    def sync() -> list[str]:
        with Store(relay.url) as store:
            return sorted(itertools.islice(_new(store.watch("cut/watch/", values=True, since=since)), 3))

    async def at_once() -> list[str]:
        seen: dict[str, str] = {}
        async with AsyncStore(relay.url) as store:
            async for event in store.watch("cut/watch/", values=True, since=since):
                seen[event.key] = (event.value or b"").decode()
                if len(seen) == 3:
                    return sorted(seen.values())
        raise AssertionError("a watch does not end")

    for number in range(1, 900, 11):
        relay.answer_bytes = number
        assert sync() == wanted, number
        relay.answer_bytes = number
        assert asyncio.run(at_once()) == wanted, number


def _new(watch: Iterator[Event]) -> Iterator[str]:
    """Some may come twice."""
    seen: set[str] = set()
    for event in watch:
        if event.key not in seen:
            seen.add(event.key)
            yield (event.value or b"").decode()
