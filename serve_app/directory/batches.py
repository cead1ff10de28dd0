"""Many operations at once: those that share a bucket travel in one message, and each is answered as if it had come alone.

They reach a bucket in their order, so what stands later about a key sees what stands earlier. Nothing holds them together
beyond that: one may be refused, or its outcome not be known, where others are carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from serve_app.directory.routed import MAX_REROUTES, Routed, check_kind
from serve_app.directory.stats import DirectoryStats
from serve_app.directory.topology_delivery import TopologyDelivery
from serve_app.directory.view import StoreView
from serve_app.errors import OutcomeUnknown, StoreError, Unavailable
from serve_app.operations import Operation
from serve_app.topology import Topology
from serve_app.wire.connection import CallExpired, ConnectionBroken, NotSent
from serve_app.wire.link import Retired
from serve_app.wire.messages import Batch, Moved, Refused
from serve_app.wire.refusals import error_of

Outcome = Routed[Any] | StoreError
_NO_ANSWERS = (Moved, Refused)


def payload_of(operations: Sequence[Operation[Any]]) -> int:
    """Bytes of values in them. What only reads has none."""
    return sum([operation.payload_bytes for operation in operations if operation.writes])


class Batches:
    """See the module. On the directory's loop."""

    def __init__(self, view: StoreView, delivery: TopologyDelivery, stats: DirectoryStats) -> None:
        self._view, self._delivery, self._stats = view, delivery, stats

    async def carry_out(self, operations: Sequence[Operation[Any]], deadline_s: float, home: int = -1) -> UnderWay:
        """What came of each. deadline_s: on the loop's clock. home: the bucket that all of them are asked of first, where
        that is known.

        Raises:
            Unavailable: the topology is not known. Nothing was sent.
        """
        batch = UnderWay(operations)
        rounds = 0
        if home >= 0:
            share = _Share(home, 0)
            share.numbers, share.operations = list(range(len(operations))), list(operations)
            rounds += await self._send(batch, share, deadline_s)
        while not batch.whole:
            try:
                topology = self._view.topology or await self._view.wait_for_topology(deadline_s)
                if rounds > MAX_REROUTES:
                    raise Unavailable("the buckets and the topology disagree about the key's home")
            except Unavailable as error:
                left = batch.left
                if len(left) == len(operations) and not rounds:
                    raise
                batch.refuse(left, error)
                break
            shares = batch.shares(self._view, topology)
            if len(shares) == 1:
                rounds += await self._send(batch, shares[0], deadline_s)
            else:
                rounds += any(await asyncio.gather(*(self._send(batch, share, deadline_s) for share in shares)))
        return batch

    async def _send(self, batch: UnderWay, share: _Share, deadline_s: float) -> bool:
        """Have a bucket carry out its share; whether some of it has moved. What has no outcome then is to be routed again."""
        loop = asyncio.get_running_loop()
        started_s, home = loop.time(), share.home
        link = self._view.links.get(home)
        if link is None:
            return False  # this has begun after the topology had changed
        try:
            connection = link.connection() or await link.wait_for_connection(deadline_s)
            answer = await connection.call(Batch(share.operations), deadline_s, share.epoch)
            if isinstance(answer, Refused):
                raise error_of(home, answer)
        except (Retired, NotSent):
            return False
        except ConnectionBroken:
            batch.broke_off(share, f"the connection to bucket-{home} broke after it was sent")
            return False
        except CallExpired:
            batch.expired(share, f"bucket-{home} did not answer in time")
            return False
        except StoreError as error:
            self._stats.failed("batch", home, error)
            batch.refuse(share.numbers, error)
            return False
        answers = [answer] * len(share.numbers) if isinstance(answer, Moved) else answer.answers
        self._stats.observe("batch", home, loop.time() - started_s)
        moved = batch.take(share, answers)
        if not moved:
            return False
        # The furthest says all that the others do.
        furthest = max((answers[place] for place in moved), key=lambda answer: answer.cursor)
        try:
            if not self._view.learn(home, furthest):
                await self._delivery.reconcile(home, furthest.topology, deadline_s)
        except StoreError as error:
            batch.refuse([share.numbers[place] for place in moved], error)
        return True


class UnderWay:
    """A batch and what is known of it so far."""

    def __init__(self, operations: Sequence[Operation[Any]]) -> None:
        self._operations = operations
        #: Of each the answer, or why there is none; None while that is not known. And the bucket that has answered.
        self._outcomes: list[Any] = [None] * len(operations)
        self._homes = [-1] * len(operations)
        #: What was sent, and may have happened, of what is sent again.
        self._unknown: dict[int, OutcomeUnknown] = {}

    @property
    def left(self) -> list[int]:
        """The places of those that have no outcome yet."""
        return [number for number, outcome in enumerate(self._outcomes) if outcome is None]

    def shares(self, view: StoreView, topology: Topology) -> list[_Share]:
        """What is left, by the buckets that it goes to."""
        shares: dict[tuple[int, int], _Share] = {}
        left = self.left
        operations = [self._operations[number] for number in left]
        homes = view.homes_of([operation.key for operation in operations], topology)
        for number, operation, home in zip(left, operations, homes, strict=True):
            share = shares.get(home)
            if share is None:
                share = shares[home] = _Share(*home)
            share.numbers.append(number)
            share.operations.append(operation)
        return list(shares.values())

    def take(self, share: _Share, answers: list[Any]) -> list[int]:
        """Take a bucket's answers; the places in the share of what has moved."""
        moved: list[int] = []
        outcomes, home = self._outcomes, share.home
        # Most are of one kind, so kinds are looked at once and not with each.
        kinds = set(zip(map(type, share.operations), map(type, answers), strict=True))
        for operation, kind in kinds:
            if kind not in _NO_ANSWERS:
                check_kind(operation, kind)
        if not any(kind in _NO_ANSWERS for _, kind in kinds):
            if len(answers) == len(outcomes):
                self._outcomes, self._homes = answers, [home] * len(answers)
                return moved
            for number, answer in zip(share.numbers, answers, strict=True):
                outcomes[number], self._homes[number] = answer, home
            return moved
        for place, (number, answer) in enumerate(zip(share.numbers, answers, strict=True)):
            if isinstance(answer, Moved):
                moved.append(place)
            elif isinstance(answer, Refused):
                self.refuse([number], error_of(home, answer))
            else:
                outcomes[number], self._homes[number] = answer, home
        return moved

    def refuse(self, numbers: list[int], error: StoreError) -> None:
        """They are not carried out: which says nothing of what was sent before."""
        for number in numbers:
            told = error
            if isinstance(error, OutcomeUnknown) and not self._operations[number].writes:
                told = Unavailable(str(error))  # that of the bucket's other writes: a read changes nothing
            self._outcomes[number] = self._unknown.get(number, told)

    def broke_off(self, share: _Share, why: str) -> None:
        """Nobody knows what came of the share's writes. What may be repeated is left."""
        for number, operation in zip(share.numbers, share.operations, strict=True):
            if operation.writes:
                self._unknown[number] = OutcomeUnknown(f"{why}: the {operation.name} may have happened")
            if not operation.repeatable:
                self._outcomes[number] = self._unknown[number]

    def expired(self, share: _Share, why: str) -> None:
        """There is no time left."""
        for number, operation in zip(share.numbers, share.operations, strict=True):
            unknown = OutcomeUnknown(f"{why}: the {operation.name} may have happened")
            self._outcomes[number] = unknown if operation.writes else Unavailable(why)

    @property
    def whole(self) -> bool:
        """Whether each has its outcome."""
        return None not in self._outcomes

    def answers(self) -> list[Any]:
        """The answer to each, in order, or the StoreError that stands in its place."""
        assert self.whole, "each has one by now"
        return self._outcomes

    def outcomes(self) -> list[Outcome]:
        """The same, with the bucket that has answered."""
        return [
            each if isinstance(each, StoreError) else Routed(each, home, "")
            for each, home in zip(self.answers(), self._homes, strict=True)
        ]


class _Share:
    """What one bucket is asked, by one claim. numbers: the operations' places in the batch."""

    __slots__ = ("epoch", "home", "numbers", "operations")

    def __init__(self, home: int, epoch: int) -> None:
        self.home, self.epoch = home, epoch
        self.numbers: list[int] = []
        self.operations: list[Operation[Any]] = []
