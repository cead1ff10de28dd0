"""Of a key that comes twice in put_many the last value stays, however many batches are under way at once."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_storage import AsyncStore, Store
from cloud_storage.batches import AT_ONCE
from cloud_storage.many import in_batches
from tests.client.served import Served


def item(key: str) -> dict[str, Any]:
    return {"op": "put", "key": key, "value": b""}


@given(st.lists(st.sampled_from("abcdef"), max_size=40), st.data())
def test_batches_under_way_share_no_key_and_none_is_left_out(keys: list[str], data: st.DataObject) -> None:
    batches = in_batches(map(item, keys))
    under_way: list[list[dict[str, Any]]] = []
    ended: list[str] = []
    while True:
        under_way += batches.startable(AT_ONCE - len(under_way))
        busy = [each["key"] for batch in under_way for each in batch]
        assert len(busy) == len(set(busy))
        if not under_way:
            break
        batch = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
        ended += [each["key"] for each in batch]
        batches.ended(batch)
    assert sorted(ended) == sorted(keys)


#: The first batch has 500 others behind the key, so that the second is another batch.
def pairs(prefix: str) -> Iterator[tuple[str, str]]:
    yield f"{prefix}twice", "first"
    yield from ((f"{prefix}{number}", "") for number in range(500))
    yield f"{prefix}twice", "last"


class SlowFirst:
    """Holds the first batch back until another one has arrived, or none has come for a moment."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self.another = threading.Event()


def test_of_a_key_that_comes_twice_the_last_value_stays(http_store: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, real = SlowFirst(), Store._batch

    def batch(store: Store, items: Any) -> Any:
        if next(slow.numbers) == 0:
            slow.another.wait(0.3)
            return real(store, items)
        results = real(store, items)
        slow.another.set()
        return results

    monkeypatch.setattr(Store, "_batch", batch)
    with Store(http_store.url) as store:
        assert store.put_many(pairs("order/sync/")) == 502
        assert store.get_text("order/sync/twice") == "last"


def test_the_same_for_asyncio(http_store: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, real = SlowFirst(), AsyncStore._batch

    async def batch(store: AsyncStore, items: Any) -> Any:
        if next(slow.numbers) == 0:
            await asyncio.to_thread(slow.another.wait, 0.3)
            return await real(store, items)
        results = await real(store, items)
        slow.another.set()
        return results

    monkeypatch.setattr(AsyncStore, "_batch", batch)

    async def run() -> None:
        async with AsyncStore(http_store.url) as store:
            assert await store.put_many(pairs("order/async/")) == 502
            assert await store.get_text("order/async/twice") == "last"

    asyncio.run(run())
