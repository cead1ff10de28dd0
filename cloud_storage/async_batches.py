"""The batches of a call on asyncio, several under way at once. Not in `batches.py`: the sync client imports no asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from cloud_storage.batches import AT_ONCE, Batches
from cloud_storage.errors import SomeFailed, StoreError

T = TypeVar("T")


async def outcomes(
    batches: Batches[T], carry_out: Callable[[list[T]], Awaitable[list[Any]]], failed: dict[str, StoreError]
) -> AsyncIterator[tuple[T, Any]]:
    """Each item with what came of it, where that is no error. Raises SomeFailed at the end, where any are in `failed`."""
    under_way: deque[tuple[list[T], asyncio.Future[list[Any]]]] = deque()
    try:
        while True:
            for batch in batches.startable(AT_ONCE - len(under_way)):
                under_way.append((batch, asyncio.ensure_future(carry_out(batch))))
            if not under_way:
                break
            batch, done = under_way[0]
            found = await done
            under_way.popleft()
            batches.ended(batch)
            for each in batches.sort(batch, found, failed):
                yield each
    finally:
        for _, task in under_way:
            task.cancel()
    if failed:
        raise SomeFailed(failed)
