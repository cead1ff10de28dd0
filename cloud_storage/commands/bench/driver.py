"""The clients of a run: each does one operation after the other, on one event loop."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from cloud_storage.async_store import AsyncStore
from cloud_storage.commands.bench.measurements import Measurements
from cloud_storage.commands.bench.values import Values, name
from cloud_storage.commands.bench.workloads import Draws, Operation, Workload
from cloud_storage.errors import ConditionFailed, OutcomeUnknown, StoreError

#: Records of one batch, of loading, counting and removing.
BATCH = 500
#: Told how many are done.
Tell = Callable[[int], None]


@dataclass(frozen=True)
class Plan:
    """rate: operations a second that are begun whatever becomes of those before; None: each client goes on at once."""

    workload: Workload
    records: int
    operations: int | None
    seconds: float | None
    clients: int
    value_bytes: int
    rate: float | None
    prefix: str
    seed: int


class Driver:
    """One run on a store."""

    def __init__(self, store: AsyncStore, plan: Plan) -> None:
        self._store, self._plan = store, plan
        source = random.Random(plan.seed)
        self._draws = Draws(plan.workload, plan.records, source)
        self._values = Values(plan.value_bytes, source)
        self.measured = Measurements()
        #: Read-modify-writes that were carried out, and those that may have been.
        self._modified = self._maybe_modified = 0

    async def load(self, tell: Tell) -> float:
        """Store all records; how long it took, in seconds. Raises StoreError."""
        started_s = time.monotonic()
        for start in range(0, self._plan.records, BATCH * self._plan.clients):
            end = min(self._plan.records, start + BATCH * self._plan.clients)
            records = [(self._key(number), self._values.make(number, 0)) for number in range(start, end)]
            await _to_its_end(asyncio.ensure_future(self._store.put_many(records)))
            tell(end)
        return time.monotonic() - started_s

    async def modified_in_all(self) -> int:
        """How often the records say that they were modified. Raises StoreError; ValueError: one is missing, or another."""
        total = 0
        for start in range(0, self._plan.records, BATCH * 8):
            numbers = range(start, min(self._plan.records, start + BATCH * 8))
            found = await self._store.get_many(map(self._key, numbers))
            for number in numbers:
                if self._key(number) not in found:
                    raise ValueError(f"{name(number)} is not there: load the records first")
                total += self._values.count(number, found[self._key(number)].value)
        return total

    async def run(self, tell: Tell) -> None:
        """All operations. What fails is counted. Where it is cancelled, what is under way comes to its end first: nothing of
        it is stored any more when this has ended."""
        started_s = time.monotonic()
        times = self._times(started_s)
        done = 0

        async def client() -> None:
            nonlocal done
            async for begin_s in times:
                await self._operation(begin_s)
                done += 1
                tell(done)

        running = [asyncio.ensure_future(client()) for _ in range(self._plan.clients)]
        try:
            await asyncio.shield(asyncio.gather(*running))
        finally:
            times.stop()
            await asyncio.wait(running)
        self.measured.seconds = time.monotonic() - started_s

    def lost_updates(self, before: int, after: int) -> int:
        """How many of the read-modify-writes are not in the records, or are there without having been made."""
        surplus = after - before - self._modified
        return -surplus if surplus < 0 else max(0, surplus - self._maybe_modified)

    def _times(self, started_s: float) -> _Times:
        return _Times(self._plan, started_s)

    async def _operation(self, begin_s: float) -> None:
        operation, number = self._draws.draw()
        try:
            returned = await self._carry_out(operation, number)
        except ValueError as error:
            returned = "UNEXPECTED_STATE"
            self.measured.problems[str(error)] += 1
        except StoreError as error:
            returned = type(error).__name__
            self.measured.problems[str(error)] += 1
        finally:
            if operation is Operation.INSERT:
                self._draws.inserted.acknowledge(number)
        self.measured.add(operation.value, time.monotonic() - begin_s, returned)

    async def _carry_out(self, operation: Operation, number: int) -> str:
        key = self._key(number)
        if operation is Operation.READ:
            record = await self._store.get(key)
            if record is None:
                return "NOT_FOUND"
            self._values.count(number, record.value)
        elif operation is Operation.MODIFY:
            return await self._modify(key, number)
        elif operation is Operation.INSERT:
            await self._store.create(key, self._values.make(number, 0))
        else:
            await self._store.put(key, self._values.make(number, 0))
        return "OK"

    async def _modify(self, key: str, number: int) -> str:
        """Read it, and replace what was read; anew where another client was faster."""
        while True:
            record = await self._store.get(key)
            if record is None:
                return "NOT_FOUND"
            value = self._values.make(number, self._values.count(number, record.value) + 1)
            try:
                await self._store.replace(key, value, record.revision)
            except ConditionFailed:
                continue
            except OutcomeUnknown:
                self._maybe_modified += 1
                raise
            self._modified += 1
            return "OK"

    def _key(self, number: int) -> str:
        return self._plan.prefix + name(number)


async def _to_its_end(task: asyncio.Future[Any]) -> None:
    """Wait for it, also where this is cancelled."""
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


class _Times:
    """When each operation is to begin, shared by all clients: now, or, with a rate, at its time. One that begins late because
    all clients were waiting is measured from when it should have begun."""

    def __init__(self, plan: Plan, started_s: float) -> None:
        self._interval_s = None if plan.rate is None else 1 / plan.rate
        self._left = math.inf if plan.operations is None else plan.operations
        self._end_s = math.inf if plan.seconds is None else started_s + plan.seconds
        self._next_s = started_s
        self._stopped = asyncio.get_running_loop().create_future()

    def stop(self) -> None:
        """No more are begun."""
        if not self._stopped.done():
            self._stopped.set_result(None)

    def __aiter__(self) -> AsyncIterator[float]:
        return self

    async def __anext__(self) -> float:
        now_s = time.monotonic()
        begin_s = now_s if self._interval_s is None else self._next_s
        if self._stopped.done() or self._left <= 0 or max(now_s, begin_s) >= self._end_s:
            raise StopAsyncIteration
        self._left -= 1
        if self._interval_s is not None:
            self._next_s += self._interval_s
            if begin_s > now_s:
                await asyncio.wait([self._stopped], timeout=begin_s - now_s)
                if self._stopped.done():
                    raise StopAsyncIteration
        return begin_s
