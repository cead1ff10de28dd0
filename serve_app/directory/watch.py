"""Keeping the topology: the directory asks every bucket about once a second what it knows, and tells those behind.

Bucket 0 holds the authority; while it is away the highest epoch that any bucket reports counts. A new store is founded
here: once every bucket of the configured count is there and no bucket that there is belongs to a store yet, bucket 0 is
asked to commit the first topology, and whatever it answers is the topology.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from serve_app import events
from serve_app.directory.census import Census, FindBuckets
from serve_app.directory.settling import topology_of
from serve_app.errors import Unavailable
from serve_app.topology import MAX_BUCKET_COUNT, Topology, newest
from serve_app.wire import messages
from serve_app.wire.client import CallExpired, ConnectionBroken
from serve_app.wire.link import BucketLink

REFRESH_S = 1.0
_UNSETTLED_REFRESH_S = 0.1
_ASK_TIMEOUT_S = 2.0
#: A bucket that the store goes on without has so long to answer what is under way.
_DRAIN_S = 2.0
#: How long a start waits for the buckets it has not heard, before it goes by the others.
_FIRST_ANSWERS_S = 3.0

_Trouble = (Unavailable, ConnectionBroken, CallExpired)
MakeLink = Callable[[int, Callable[[int], str]], BucketLink]


class TopologyWatch:
    """The topology in memory, the links it implies, and what each bucket last said of itself."""

    def __init__(self, make_link: MakeLink, find_buckets: FindBuckets, max_waiting: int, identity: str) -> None:
        self._identity = identity
        self._make_link = make_link
        self._census = Census(find_buckets)
        self._max_waiting = max_waiting
        self._waiting = 0
        self._links: dict[int, BucketLink] = {}
        self._known = asyncio.Event()
        self._reconciling: dict[int, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self.topology: Topology | None = None
        #: While keys move, by old home: its keys below this have moved. It only advances, so it never goes stale.
        self.cursors: dict[int, bytes] = {}
        #: M as configured; it founds a new store. A stored topology has the last word.
        self.configured_count: int | None = None
        self._refused_configuration = ""
        self._count_problem = ""
        #: Why the buckets' answers make no topology.
        self._unsettled = ""
        self.statuses: dict[int, messages.Status] = {}

    def configure(self, bucket_count: int) -> None:
        """Take a new configured count."""
        self.configured_count = bucket_count
        self._refused_configuration = ""

    def refuse_configuration(self, problem: str) -> None:
        """Remember why a configuration was not taken; the one before stays."""
        self._refused_configuration = problem

    @property
    def problem(self) -> str:
        """Why the configuration is not followed, as a sentence; empty where it is."""
        return self._refused_configuration or self._count_problem

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for task in list(self._reconciling.values()):
            task.cancel()
        for link in self._links.values():
            await link.stop()

    def link(self, bucket_id: int) -> BucketLink:
        """The link to a bucket of the topology."""
        return self._links[bucket_id]

    @property
    def links(self) -> dict[int, BucketLink]:
        """All links there are, by bucket id."""
        return self._links

    async def wait_for_topology(self, deadline_s: float) -> Topology:
        """The topology, waited for until the deadline (on the loop's clock).

        Raises:
            Unavailable: it is not known by then.
        """
        if self._waiting >= self._max_waiting:
            raise Unavailable(f"the store is not up yet, and many wait for it already: {self.what_is_missing()}")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._known.wait()
        except TimeoutError:
            raise Unavailable(f"the store is not up yet: {self.what_is_missing()}") from None
        finally:
            self._waiting -= 1
        assert self.topology is not None
        return self.topology

    def learn(self, bucket_id: int, moved: messages.Moved) -> bool:
        """Learn from an old home how far its keys have moved; whether that is why it does not serve the key."""
        if moved.topology is None or not moved.cursor or moved.topology != self.topology:
            return False
        self.cursors[bucket_id] = max(moved.cursor, self.cursors.get(bucket_id, b""))
        return True

    async def reconcile(self, bucket_id: int, theirs: Topology | None, deadline_s: float) -> None:
        """Agree with a bucket that answered Moved: take its topology if it is newer, else hand it ours.

        Raises:
            Unavailable: the bucket refused ours or can't be asked before the deadline. Nothing was done for a Moved.
        """
        if theirs is not None:
            self._adopt(theirs)
        if theirs is not None and theirs is self.topology:
            return
        if bucket_id not in self._links:
            return  # the store goes on without it, as we have learned meanwhile
        task = self._reconciling.get(bucket_id)
        if task is None:  # many operations may find out at once; one tells the bucket
            task = asyncio.create_task(self._install(bucket_id))
            self._reconciling[bucket_id] = task
            task.add_done_callback(lambda done: self._reconciled(bucket_id, done))
        try:
            async with asyncio.timeout_at(deadline_s):
                await asyncio.shield(task)
        except (ConnectionBroken, CallExpired, TimeoutError):
            raise Unavailable(f"bucket-{bucket_id} could not be told the topology") from None

    def _reconciled(self, bucket_id: int, done: asyncio.Task[None]) -> None:
        del self._reconciling[bucket_id]
        if not done.cancelled():
            done.exception()  # whoever waited has it; if nobody did any more, it is no news

    async def inspect_all(self) -> None:
        """Ask every bucket for its status, all at once; `statuses` then holds those that answered."""
        links = list(self._links.items())  # more may be linked while we ask
        report = (self._identity, self.configured_count or 0, 0 if self.topology is None else self.topology.epoch)
        answers = await asyncio.gather(
            *(link.inspect(_ASK_TIMEOUT_S, report) for _, link in links), return_exceptions=True
        )
        for (bucket_id, _), answer in zip(links, answers, strict=True):
            if bucket_id not in self._links:
                continue  # let go meanwhile
            if isinstance(answer, messages.Status):
                self.statuses[bucket_id] = answer
            elif isinstance(answer, _Trouble):
                self.statuses.pop(bucket_id, None)
            elif isinstance(answer, BaseException):
                raise answer

    async def refresh(self) -> None:
        """`inspect_all`, and take the newest topology that they know."""
        await self.inspect_all()
        if self.topology is not None:
            self._adopt(*self._reported())

    # -- the loop ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        self._ensure_links(1)
        started_s = asyncio.get_running_loop().time()
        while True:
            try:
                await self.refresh()
                if self.topology is None:
                    self._settle_first(asyncio.get_running_loop().time() - started_s > _FIRST_ANSWERS_S)
                if self.topology is not None:
                    self._check_count(self.topology)
                    await self._catch_up(self.topology)
                else:
                    await self._establish()
                self._unsettled = ""
            except _Trouble as error:
                if str(error) != self._unsettled:  # it is tried ten times a second
                    events.warning("topology not settled", reason=str(error))
                self._unsettled = str(error)
            except Exception as error:  # the watch must outlive any surprise: without it nothing heals
                events.error("topology refresh failed", exc_info=error)
            await asyncio.sleep(_UNSETTLED_REFRESH_S if self.topology is None else REFRESH_S)

    def _reported(self) -> list[Topology]:
        """The topologies that buckets report, of whatever store."""
        return [
            status.topology for status in self.statuses.values() if status.topology is not None and not status.fault
        ]

    def _settle_first(self, waited: bool) -> None:
        """Take the first topology, once the buckets that it lists have been heard, or waited for.

        Bucket 0 is asked first. Then those that it lists, or, where it has none or is away, those that are configured:
        a volume of another store may have come in its place, and only the others can tell. The store that most of the
        buckets heard belong to wins.

        Raises:
            Unavailable: as many belong to one store as to another; nobody can say which is the right one.
        """
        reported = self._reported()
        if not reported:
            if 0 in self.statuses or waited:
                self._ensure_links(self.configured_count or 1)
            return
        expected = max(len(topology.identities) for topology in reported)
        self._ensure_links(expected)
        if not waited and any(bucket_id not in self.statuses for bucket_id in range(expected)):
            return
        self._adopt(topology_of(self.statuses.values()))

    def _ensure_links(self, count: int) -> None:
        for bucket_id in range(count):
            self._ensure_link(bucket_id)

    def _ensure_link(self, bucket_id: int) -> None:
        if bucket_id not in self._links:
            self._links[bucket_id] = link = self._make_link(bucket_id, self._expected_identity)
            link.start()

    def _let_go(self, bucket_id: int) -> None:
        """The store goes on without this bucket: a link would only bring it back."""
        link = self._links.pop(bucket_id)
        self.statuses.pop(bucket_id, None)
        link.retire()
        task = asyncio.create_task(link.drain(_DRAIN_S))  # a write under way is about to be told that it has moved
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    def _expected_identity(self, bucket_id: int) -> str:
        topology = self.topology
        return "" if topology is None or bucket_id >= len(topology.identities) else topology.identities[bucket_id]

    def _adopt(self, *candidates: Topology | None) -> None:
        """Take the newest topology of this store."""
        ours = self.topology
        if ours is not None:
            candidates = tuple(new for new in candidates if new is not None and new.store_id == ours.store_id)
        best = newest(ours, *candidates)
        if best is None or (ours is not None and best.epoch == ours.epoch):
            return
        self.topology = best
        self.cursors = {}
        self._ensure_links(len(best.identities))
        for bucket_id in [bucket_id for bucket_id in self._links if bucket_id >= len(best.identities)]:
            self._let_go(bucket_id)
        self._known.set()
        for link in self._links.values():
            link.check_identity()
        self._check_count(best)
        events.info("topology known", epoch=best.epoch, buckets=best.bucket_count, store=best.store_id)

    def _check_count(self, topology: Topology) -> None:
        """Say why the store has another number of buckets than is configured: it moves, or what it waits for."""
        wanted, zero, link = self.configured_count, self.statuses.get(0), self._links[0]
        waiting_for = "" if zero is None else zero.waiting_for
        problem = ""
        if topology.moving:
            if wanted not in (None, topology.target_count):
                problem = f"bucket_count {wanted} is taken up when the move to {topology.target_count} has ended"
        elif wanted is not None and wanted != topology.bucket_count:
            problem = f"the store has {topology.bucket_count} buckets, and is about to move to {wanted}"
        if link.faulted and (problem or topology.moving):
            waiting_for = f"bucket-0, which begins and ends moves, can't serve: {link.trouble}"
        if waiting_for:
            problem = f"{problem}; waiting: {waiting_for}" if problem else f"waiting: {waiting_for}"
        if problem and problem != self._count_problem:
            events.info("topology to change", configured=wanted, stored=topology.bucket_count, problem=problem)
        self._count_problem = problem

    async def _catch_up(self, topology: Topology) -> None:
        """Hand the topology to buckets that are behind, all at once: one that is slow must not hold up the others."""
        behind = [
            bucket_id
            for bucket_id, status in self.statuses.items()
            if bucket_id < len(topology.identities)
            and not status.fault
            and (status.topology is None or status.topology.epoch < topology.epoch)
        ]
        outcomes = await asyncio.gather(*(self._install(bucket_id) for bucket_id in behind), return_exceptions=True)
        for bucket_id, outcome in zip(behind, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                events.warning("topology not installed", bucket=bucket_id, reason=str(outcome))

    async def _install(self, bucket_id: int) -> None:
        topology = self.topology
        assert topology is not None
        status = await self._links[bucket_id].ask(lambda call, ms: messages.Install(call, ms, topology), _ASK_TIMEOUT_S)
        self.statuses[bucket_id] = status
        self._adopt(status.topology)

    async def _establish(self) -> None:
        """Found a new store, once every bucket there is has been heard, and is empty and without a store.

        Those beyond the configured count too: the store may have had more, of which bucket 0 came back empty.
        """
        count = self.configured_count
        if count is None or not self._are_new(range(count)):
            return
        # Of what was said a moment ago all must have been heard; then what is said now decides.
        for anew in (False, True):
            there = self._to_be_heard(await self._census.ids(anew=anew))
            for bucket_id in there:
                self._ensure_link(bucket_id)
            if count != self.configured_count or not self._are_new(there):
                return
        identities = tuple(self.statuses[bucket_id].identity for bucket_id in range(count))
        answer = await self._links[0].ask(lambda call, ms: messages.Establish(call, ms, identities), _ASK_TIMEOUT_S)
        self._adopt(answer.topology)

    def _to_be_heard(self, told_of: Collection[int]) -> set[int]:
        """The buckets that count where a store is founded: those configured, those beside bucket 0, those told of."""
        zero = self.statuses.get(0)
        siblings = () if zero is None else zero.siblings
        return {*range(self.configured_count or 0), *siblings, *told_of} & set(range(MAX_BUCKET_COUNT))

    def _are_new(self, bucket_ids: Collection[int]) -> bool:
        """Whether these have been heard, and no bucket that was heard belongs to a store or holds anything."""
        if any(bucket_id not in self.statuses for bucket_id in bucket_ids):
            return False
        heard = self.statuses.values()
        return not any(status.keys or status.fault or status.topology is not None for status in heard)

    def what_is_missing(self) -> str:
        if self._unsettled:
            return self._unsettled
        if self.configured_count is None:
            return self._refused_configuration or "no bucket_count is configured"
        wanted = self._to_be_heard(self._census.latest)
        away = [
            f"bucket-{link.bucket_id} ({link.trouble})"
            for link in self._links.values()
            if not link.connected and link.bucket_id in wanted
        ]
        holding = [
            f"bucket-{status.bucket_id} ({status.fault or 'holds records but knows of no store'})"
            for status in self.statuses.values()
            if status.fault or (status.keys and status.topology is None)
        ]
        return "waiting for " + (", ".join(away + holding) or "the first topology")
