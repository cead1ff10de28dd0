"""The coordinator: in bucket 0. It begins a move, sees it through, and ends it.

`STABLE(e, M)` → `MOVING(e+1, M → N)` once every directory heard from lately is configured with N and the buckets that join
are there and empty; → `STABLE(e+2, N)` once every source's cursor is at its end. All that it knows beside the topology is
asked anew, so it may die at any moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serve_app import events
from serve_app.authority.proposer import Proposer
from serve_app.authority.proposing_bucket import Overtaken
from serve_app.errors import StoreError, Unavailable
from serve_app.resharding.moving_bucket import MovingBucket
from serve_app.resharding.peers import Peers
from serve_app.topology import MAX_BUCKET_COUNT, Topology
from serve_app.wire.connection import NO_ANSWER
from serve_app.wire.messages import Inspect

#: A directory reports about once a second; one that has not for this long does not count.
LATELY_S = 5.0
#: All have to agree for this long: after a start, or while a configuration is rolled out, some are heard before others.
AGREED_S = 3.0
_MAX_DIRECTORIES = 1024
_ASK_TIMEOUT_S = 2.0
_INTERVAL_S = 0.25


class Coordinator:
    """Runs on bucket 0's loop for as long as it lives."""

    def __init__(
        self,
        bucket: MovingBucket,
        peers: Peers,
        proposer: Proposer,
        clock: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        """clock: monotonic seconds. `say` gets what is being waited for, or an empty text."""
        self._bucket = bucket
        self._peers = peers
        self._proposer = proposer
        self._clock = clock
        self._say = say
        self._reports: dict[str, tuple[int, float]] = {}
        self._agreed: tuple[int, float] | None = None

    def heard(self, inspect: Inspect) -> None:
        """A directory has reported the bucket_count it is configured with."""
        if not 1 <= inspect.configured_count <= MAX_BUCKET_COUNT or not inspect.directory:
            return
        if inspect.directory in self._reports or len(self._reports) < _MAX_DIRECTORIES:
            self._reports[inspect.directory] = (inspect.configured_count, self._clock())

    async def run(self) -> None:
        """Never returns."""
        while True:
            try:
                await self._step()
            except Overtaken:
                pass  # it has changed meanwhile; look again
            except NO_ANSWER as error:
                self._say(str(error) or type(error).__name__)
            except StoreError as error:
                self._say(str(error))
            except Exception as error:  # the coordinator must outlive any surprise: without it no move ends
                events.error("coordinator failed", exc_info=error)
                self._say(repr(error))
            await asyncio.sleep(_INTERVAL_S)

    async def _step(self) -> None:
        topology = self._bucket.topology
        if topology is None or self._bucket.fault:
            return
        if topology.moving:
            await self._see_through(topology)
            return
        wanted = self._wanted(topology)
        if wanted is not None:
            await self._begin(topology, wanted)
        elif self._agreed is None:
            await self._peers.close()

    # -- beginning ---------------------------------------------------------------------------------------------------

    def _wanted(self, topology: Topology) -> int | None:
        """The number of buckets that all directories have agreed on for a while, where it is another one."""
        now_s = self._clock()
        self._reports = {who: report for who, report in self._reports.items() if report[1] > now_s - LATELY_S}
        counts = {count for count, _ in self._reports.values()}
        if counts == {topology.bucket_count} or not counts:
            self._agreed = None
            self._say("")
            return None
        if len(counts) > 1:
            self._agreed = None
            self._say(f"directories are configured with different bucket_counts: {sorted(counts)}")
            return None
        (count,) = counts
        if self._agreed is None or self._agreed[0] != count:
            self._agreed = (count, now_s)
        if now_s - self._agreed[1] < AGREED_S:
            return None
        return count

    async def _begin(self, topology: Topology, wanted: int) -> None:
        # All at once: who was asked long ago may be another one by the commit.
        joining = await asyncio.gather(
            *(self._newcomer(topology, bucket_id) for bucket_id in range(topology.bucket_count, wanted))
        )
        new = topology.begin_move(wanted, tuple(joining))
        await self._proposer.decide(topology, new)
        self._agreed = None
        self._say("")
        events.info("move begun", epoch=new.epoch, buckets=topology.bucket_count, target=wanted)
        await self._install(range(1, max(topology.bucket_count, wanted)))

    async def _newcomer(self, topology: Topology, bucket_id: int) -> str:
        """The identity of a bucket that is to join.

        Raises:
            Unavailable: it is not there yet, or must not join.
        """
        status = await self._peers.status(bucket_id, _ASK_TIMEOUT_S)
        if status.fault:
            raise Unavailable(f"bucket-{bucket_id} can't join: {status.fault}")
        if status.topology is not None and status.topology.store_id != topology.store_id:
            raise Unavailable(f"bucket-{bucket_id} can't join: its storage belongs to another store")
        if status.keys:
            raise Unavailable(f"bucket-{bucket_id} can't join: its storage holds {status.keys:,} records already")
        return status.identity

    # -- seeing it through -------------------------------------------------------------------------------------------

    async def _see_through(self, topology: Topology) -> None:
        cursor = self._bucket.cursor
        assert cursor is not None, "a topology is installed with its cursor"
        others = range(1, topology.bucket_count)
        outcomes = await asyncio.gather(*(self._is_done(topology, each) for each in others), return_exceptions=True)
        waiting = []
        for bucket_id, outcome in zip(others, outcomes, strict=True):
            if isinstance(outcome, NO_ANSWER):
                waiting.append(str(outcome) or f"bucket-{bucket_id} does not answer")
            elif isinstance(outcome, BaseException):
                raise outcome
        self._say("; ".join(waiting))
        if waiting or not cursor.done or not all(outcomes):
            return
        new = topology.end_move()
        await self._proposer.decide(topology, new)
        events.info("move ended", epoch=new.epoch, buckets=new.bucket_count)
        await self._install(range(1, max(topology.bucket_count, topology.target_count)))

    async def _is_done(self, topology: Topology, bucket_id: int) -> bool:
        """Whether a source has moved everything, in this very epoch; one that is behind is told."""
        status = await self._peers.status(bucket_id, _ASK_TIMEOUT_S)
        if status.topology is None or status.topology.epoch < topology.epoch:
            status = await self._peers.install(bucket_id, _ASK_TIMEOUT_S)
        known = status.topology
        return known is not None and known.epoch == topology.epoch and status.move_done and not status.fault

    async def _install(self, bucket_ids: range) -> None:
        """Tell everybody, as far as they are there; who is not finds out from a directory, a mover or us, later."""
        await asyncio.gather(
            *(self._peers.install(bucket_id, _ASK_TIMEOUT_S) for bucket_id in bucket_ids), return_exceptions=True
        )
