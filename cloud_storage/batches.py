"""Many things for keys, in the batches that they are sent in: several batches of a call are under way at once, and of a key
that comes twice the last stays last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from cloud_storage.errors import StoreError

T = TypeVar("T")
#: Of one batch. The store takes 1,000 and 16 MiB.
ITEMS, BYTES = 500, 4 * 1024 * 1024
#: Batches that one call has under way.
AT_ONCE = 8


class Batches(Generic[T]):
    """The batches of one call, in order. One that shares a key with another that is under way is held back: of two that
    arrive together the first might be carried out last."""

    def __init__(self, items: Iterable[T], key: Callable[[T], str | bytes], size: Callable[[T], int]) -> None:
        """size: of an item without its key, in bytes."""
        self._key, self._size = key, size
        self._left = self._cut(items)
        self._held: list[T] | None = None
        self._busy: set[str | bytes] = set()

    def startable(self, most: int) -> Iterator[list[T]]:
        """As many as may start now."""
        for _ in range(most):
            batch = self._held or next(self._left, None)
            self._held = batch
            if batch is None or not self._busy.isdisjoint(keys := [self._key(item) for item in batch]):
                return
            self._held = None
            self._busy.update(keys)
            yield batch

    def ended(self, batch: list[T]) -> None:
        """It is not under way any more."""
        self._busy.difference_update(map(self._key, batch))

    def sort(self, batch: list[T], outcomes: Iterable[Any], failed: dict[str, StoreError]) -> Iterator[tuple[T, Any]]:
        """Each item of a batch with what came of it, where that is no error; errors go into `failed`, by key."""
        for item, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, StoreError):
                key = self._key(item)
                failed[key if isinstance(key, str) else key.decode()] = outcome
            else:
                yield item, outcome

    def _cut(self, items: Iterable[T]) -> Iterator[list[T]]:
        """As many as are sent together. A key comes once in each: of two, tried again, the first would be stored over the
        second."""
        some: list[T] = []
        keys: set[str | bytes] = set()
        size = 0
        for item in items:
            key = self._key(item)
            more = self._size(item) + len(key)
            if some and (len(some) >= ITEMS or size + more > BYTES or key in keys):
                yield some
                some, size, keys = [], 0, set()
            some.append(item)
            keys.add(key)
            size += more
        if some:
            yield some
