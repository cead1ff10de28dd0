"""Many keys at once: operations in the batches that they are sent in, several under way, and what came of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeVar

from cloud_storage.errors import SomeFailed, StoreError
from serve_app.inside.patient import Patient
from serve_app.operations import Operation

#: Of one batch: a bucket takes 1,000, and answers with 16 MiB.
ITEMS, BYTES = 500, 4 * 1024 * 1024
#: Batches that one call has under way.
AT_ONCE = 8

Batch = list[Operation[Any]]
N = TypeVar("N")


def batches(operations: Iterable[Operation[Any]]) -> Iterator[Batch]:
    """As many as are sent together. A key comes once in each: of two, tried again, the first would be stored over the
    second."""
    some: Batch = []
    keys: set[bytes] = set()
    size = 0
    for operation in operations:
        more = operation.payload_bytes + len(operation.key)
        if some and (len(some) >= ITEMS or size + more > BYTES or operation.key in keys):
            yield some
            some, size, keys = [], 0, set()
        some.append(operation)
        keys.add(operation.key)
        size += more
    if some:
        yield some


def made(
    names: Iterable[N], key: Callable[[N], str], make: Callable[[N], Operation[Any]], failed: dict[str, StoreError]
) -> Iterator[Operation[Any]]:
    """An operation of each; what is refused at once is put into `failed`, by its key, and keeps nothing else back."""
    for name in names:
        try:
            yield make(name)
        except StoreError as error:
            failed[key(name)] = error


async def outcomes(
    patient: Patient, operations: Iterable[Operation[Any]], failed: dict[str, StoreError]
) -> AsyncIterator[tuple[Operation[Any], Any]]:
    """Each operation with its answer, where it has one. Raises SomeFailed at the end, where there are any in `failed`."""
    left = batches(operations)
    #: One that shares a key with what is under way, and waits for that: else the first could be stored over the second.
    held: Batch | None = None
    under_way: deque[tuple[Batch, asyncio.Task[list[Any]]]] = deque()
    keys: set[bytes] = set()
    try:
        while True:
            while len(under_way) < AT_ONCE:
                batch = held or next(left, None)
                held = None
                if batch is None:
                    break
                if not keys.isdisjoint(operation.key for operation in batch):
                    held = batch
                    break
                keys.update(operation.key for operation in batch)
                under_way.append((batch, asyncio.ensure_future(patient.carry_out_all(batch))))
            if not under_way:
                break
            batch, done = under_way[0]
            answers = await done
            under_way.popleft()
            keys.difference_update(operation.key for operation in batch)
            for operation, answer in zip(batch, answers, strict=True):
                if isinstance(answer, StoreError):
                    failed[operation.key.decode()] = answer
                else:
                    yield operation, answer
    finally:
        for _, task in under_way:
            task.cancel()
    if failed:
        raise SomeFailed(failed)
