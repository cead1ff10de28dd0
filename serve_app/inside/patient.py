"""Carrying operations out for a client: sent again until one deadline, as over HTTP, where that can do no harm."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from cloud_storage import errors as told
from cloud_storage.attempts import Attempts, Budget
from cloud_storage.exchange import Request
from serve_app.directory.directory import Directory
from serve_app.directory.routed import Routed
from serve_app.errors import OutcomeUnknown, StoreError, Unavailable, ValueTooLarge
from serve_app.inside.refusals import told_as
from serve_app.operations import Operation
from serve_app.wire.connection import NO_ANSWER

A = TypeVar("A")
#: Operations of one client under way; others wait. Of too many the directory would refuse some: it bounds what a bucket owes.
UNDER_WAY = 512
_AGAIN = (Unavailable, OutcomeUnknown)


class Patient:
    """See the module. On the directory's loop."""

    def __init__(self, directory: Directory, timeout_s: float) -> None:
        self.directory = directory
        self._timeout_s = timeout_s
        self._budget = Budget()
        self._loop = asyncio.get_running_loop()
        self._under_way = 0
        self._closed = False
        #: Those that are not, in turn.
        self._waiting: deque[asyncio.Future[None]] = deque()

    def close(self) -> None:
        """Nothing more is begun."""
        self._closed = True

    def check_open(self) -> None:
        """Raises RuntimeError: the store is closed."""
        if self._closed:
            raise RuntimeError("the store is closed")

    def deadline_s(self) -> float:
        """Of a call that begins now, on the loop's clock."""
        return self._loop.time() + self._timeout_s

    def attempts(self, what: str, *, writes: bool = False, deadline_s: float = 0.0) -> Attempts:
        """Those of a call; what: for people."""
        return Attempts(Request(what, "", writes=writes), deadline_s or self.deadline_s(), self._budget)

    async def carry_out(self, operation: Operation[A]) -> A:
        """The answer. Raises the client's StoreError."""
        if self._closed:
            self.check_open()
        deadline_s = self._loop.time() + self._timeout_s
        if self._under_way >= UNDER_WAY:
            await self._room()
        self._under_way += 1
        try:
            return (await self.directory.carry_out(operation, deadline_s)).answer
        except _AGAIN as error:
            return await self._again(operation, deadline_s, error)
        except StoreError as error:
            raise told_as(error) from None
        finally:
            self._under_way -= 1
            if self._waiting:
                self._admit()

    async def _room(self) -> None:
        """Wait, in turn, until others have ended. An `asyncio.Semaphore` takes a tenth of a get's time, waited for or not."""
        while self._under_way >= UNDER_WAY:
            turn: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self._admit()  # its turn is another's
                raise

    def _admit(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _again(self, operation: Operation[A], deadline_s: float, error: StoreError) -> A:
        attempts = self.attempts(f"the {operation.name}", writes=operation.writes, deadline_s=deadline_s)
        while True:
            await asyncio.sleep(_pause_s(attempts, error, self._loop.time()))
            try:
                return (await self.directory.carry_out(operation, deadline_s)).answer
            except _AGAIN as again:
                error = again
            except StoreError as refusal:
                raise told_as(refusal) from None

    async def carry_out_all(self, operations: Sequence[Operation[Any]]) -> list[Any | told.StoreError]:
        """What came of each, in order."""
        self.check_open()
        deadline_s = self.deadline_s()
        found: list[Any] = [None] * len(operations)
        left = list(range(len(operations)))
        attempts: Attempts | None = None
        while left:
            outcomes = await self._outcomes([operations[number] for number in left], deadline_s)
            again: list[int] = []
            unknown: StoreError | None = None
            for number, outcome in zip(left, outcomes, strict=True):
                if isinstance(outcome, Routed):
                    found[number] = outcome.answer
                    continue
                if isinstance(outcome, ValueTooLarge) and not operations[number].writes:
                    # A batch is answered with so much; one key with more.
                    found[number] = await self._alone(operations[number])
                    continue
                if not isinstance(found[number], told.OutcomeUnknown):  # a refusal now says nothing of what was before
                    found[number] = told_as(outcome)
                if isinstance(outcome, _AGAIN):
                    again.append(number)
                    unknown = outcome if unknown is None or isinstance(outcome, OutcomeUnknown) else unknown
            left = again
            if left:
                assert unknown is not None, "it is why they are left"
                attempts = attempts or self.attempts("the operations", writes=True, deadline_s=deadline_s)
                try:
                    pause_s = _pause_s(attempts, unknown, self._loop.time())
                except told.StoreError:
                    break  # each says what came of it
                await asyncio.sleep(pause_s)
        return found

    async def _alone(self, operation: Operation[Any]) -> Any:
        try:
            return await self.carry_out(operation)
        except told.StoreError as error:
            return error

    async def _outcomes(self, operations: Sequence[Operation[Any]], deadline_s: float) -> list[Any]:
        try:
            return list(await self.directory.carry_out_all(operations, deadline_s))
        except StoreError as error:
            return [error] * len(operations)

    async def ask(self, what: str, question: Callable[[], Awaitable[A]]) -> A:
        """What is asked of the store, asked again while it is unavailable. Raises the client's StoreError."""
        attempts: Attempts | None = None
        while True:
            self.check_open()
            try:
                return await question()
            except NO_ANSWER as error:
                attempts = attempts or self.attempts(what)
                pause_s = attempts.not_sent(str(error), self._loop.time())
            except StoreError as error:
                raise told_as(error) from None
            await asyncio.sleep(pause_s)


def _pause_s(attempts: Attempts, error: StoreError, now_s: float) -> float:
    """How long to pause. Raises the client's Unavailable or OutcomeUnknown: there is no time for that."""
    return (
        attempts.broken(str(error), now_s)
        if isinstance(error, OutcomeUnknown)
        else attempts.not_sent(str(error), now_s)
    )
