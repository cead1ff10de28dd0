"""The proposer: has what follows a topology decided, and installs it here.

1. A promise is asked of all acceptors, under a ballot that nobody has used. Most of them suffice; what they have accepted
   already, of the highest ballot, is what must be proposed then, and only where there is nothing of that our own.
2. All are asked to accept that. When most have, it is decided, whoever else proposes.

What is decided is installed, and then anyone may hand it on. A proposer that dies leaves at most a value that some have
accepted: the next one completes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from serve_app.authority.proposing_bucket import Overtaken, ProposingBucket
from serve_app.ballots import Ballot
from serve_app.errors import OutcomeUnknown, StoreError, Unavailable
from serve_app.operations.body import Answer, Body
from serve_app.topology import Topology
from serve_app.wire.connection import NO_ANSWER
from serve_app.wire.messages import Moved, Refused
from serve_app.wire.voting import Accept, Accepted, Outvoted, Prepare, Promised

A = TypeVar("A", bound=Answer)

_ASK_TIMEOUT_S = 2.0
#: Attempts after which whoever proposes is told that others do too.
_ATTEMPTS = 6
#: Between two of them, on average; it grows with each, so that of two proposers one gets through.
_PAUSE_S = 0.05


class Acceptors(Protocol):
    """The way to other buckets."""

    async def ask(self, bucket_id: int, body: Body[Any], timeout_s: float) -> Any:
        """A bucket's answer. Raises one of NO_ANSWER."""

    async def close(self) -> None:
        """Close all connections."""


class _Outbid(Exception):
    """Too many have promised a higher ballot to others."""


class Proposer:
    """One for each process of a bucket, on its loop."""

    def __init__(
        self, bucket: ProposingBucket, acceptors: Acceptors, incarnation: str, jitter: Callable[[], float]
    ) -> None:
        """incarnation: drawn at random for this process. jitter: 0 to 1, anew for each pause."""
        self._bucket = bucket
        self._acceptors = acceptors
        self._incarnation = incarnation
        self._jitter = jitter
        #: The highest that was used here, or heard of. It only grows, so no ballot is used twice.
        self._round = 0
        self._proposing = asyncio.Lock()

    async def decide(self, before: Topology, new: Topology) -> None:
        """Have `new` decided as what follows `before`. When this returns it is decided and durable here.

        Raises:
            Overtaken: something else was decided, and is installed here.
            Unavailable: too few acceptors answer; nothing was proposed.
            OutcomeUnknown: too few have accepted it in time; it may be decided yet, by whoever proposes next.
            StorageForeign: what was decided does not list this storage.
        """
        if before.decided_alone_by(self._bucket.identity):
            await self._bucket.decide_alone(before, new)
            return
        async with self._proposing:
            try:
                decided = await self._propose(before, new)
                await self._install(decided)
            except Exception:  # not where this is cancelled: whoever stops the bucket closes them
                await self._acceptors.close()
                raise
            await self._acceptors.close()  # a link would bring back a bucket that leaves the store, and has ended
        if decided != new:
            raise Overtaken("another proposal was completed first")

    async def _propose(self, before: Topology, new: Topology) -> Topology:
        """What is decided to follow `before`: `new`, where nothing else may have been."""
        outbid: _Outbid | None = None
        for attempt in range(_ATTEMPTS):
            # Used up before anything is sent: what comes late of this attempt must not meet another one's answers.
            self._round += 1
            ballot = Ballot(self._round, self._incarnation)
            try:
                value = await self._prepare(before, ballot) or new
                await self._accept(before, ballot, value)
                return value
            except _Outbid as error:
                outbid = error
                await asyncio.sleep(_PAUSE_S * (attempt + 1) * 2 * self._jitter())
        raise OutcomeUnknown(f"others propose what is to follow epoch {before.epoch} as well") from outbid

    async def _prepare(self, before: Topology, ballot: Ballot) -> Topology | None:
        """Most acceptors' promises; what has to be proposed, where something may have been decided under a lower ballot."""
        promises = await self._poll(before, Prepare(before, ballot), Promised)
        found = [promise for promise in promises if promise.accepted is not None]
        if not found:
            return None
        return max(found, key=lambda promise: promise.accepted or ballot).value

    async def _accept(self, before: Topology, ballot: Ballot, value: Topology) -> None:
        try:
            await self._poll(before, Accept(before, ballot, value), Accepted)
        except Unavailable as error:
            raise OutcomeUnknown(f"what is to follow epoch {before.epoch} is in doubt: {error}") from None

    async def _poll(self, before: Topology, body: Prepare | Accept, wanted: type[A]) -> list[A]:
        """The answers of the first acceptors that agree, as many as have to.

        Raises:
            Overtaken, Unavailable: as `decide`.
            _Outbid: too many have promised a higher ballot to others.
        """
        electorate, majority = before.electorate, before.majority
        outcomes: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()

        async def ask(bucket_id: int) -> None:
            outcome: Answer | Exception
            try:
                outcome = await self._ask_one(bucket_id, body)
            except Exception as error:
                outcome = error
            outcomes.put_nowait((bucket_id, outcome))

        tasks = [asyncio.create_task(ask(bucket_id)) for bucket_id in electorate]
        agreed: list[A] = []
        outbid = False
        trouble: list[str] = []
        try:
            while len(agreed) < majority:
                if len(electorate) - len(trouble) < majority:
                    if outbid:
                        raise _Outbid
                    raise Unavailable(f"{majority} of {len(electorate)} acceptors have to agree: {'; '.join(trouble)}")
                bucket_id, outcome = await outcomes.get()
                if isinstance(outcome, wanted):
                    agreed.append(outcome)
                    continue
                if isinstance(outcome, Moved):
                    await self._go_by(before, outcome.topology)
                elif isinstance(outcome, Outvoted):
                    outbid = True
                    self._round = max(self._round, outcome.promised.round)
                elif isinstance(outcome, Exception) and not isinstance(outcome, (StoreError, *NO_ANSWER)):
                    raise outcome
                detail = outcome.detail if isinstance(outcome, Refused) else outcome
                trouble.append(f"bucket-{bucket_id}: {str(detail) or type(detail).__name__}")
            return agreed
        finally:
            for task in tasks:
                task.cancel()

    async def _ask_one(self, bucket_id: int, body: Prepare | Accept) -> Answer:
        bucket = self._bucket
        if bucket_id != bucket.bucket_id:
            answer: Answer = await self._acceptors.ask(bucket_id, body, _ASK_TIMEOUT_S)
            return answer
        try:
            async with asyncio.timeout(_ASK_TIMEOUT_S):
                return await bucket.vote(body)
        except TimeoutError:
            raise Unavailable("its disk did not answer in time") from None

    async def _go_by(self, before: Topology, known: Topology | None) -> None:
        """An acceptor is ahead of us."""
        if known is not None and known.store_id == before.store_id and known.epoch > before.epoch:
            await self._install(known)
            raise Overtaken("the topology is another one by now")

    async def _install(self, decided: Topology) -> None:
        """Have it, or a newer one, durable here."""
        while (known := self._bucket.topology) is not None and known.epoch < decided.epoch:
            try:
                await self._bucket.install(decided)
            except Overtaken:
                await asyncio.sleep(0)  # by one that is newer than what we had: look again
