"""Keeping the topology: the directory asks every bucket about once a second what it knows, and tells those behind.

Bucket 0 holds the authority; while it is away the highest epoch that any bucket reports counts. A new store is founded
here: once every bucket of the configured count is there and none belongs to a store yet, bucket 0 is asked to commit the
first topology, and whatever it answers is the topology.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serve_app import events
from serve_app.directory.connection import CallExpired, ConnectionBroken
from serve_app.directory.link import BucketLink
from serve_app.errors import Unavailable
from serve_app.topology import Topology, newest
from serve_app.wire import messages

REFRESH_S = 1.0
_UNSETTLED_REFRESH_S = 0.1
_ASK_TIMEOUT_S = 2.0
#: How long bucket 0 alone is looked for at the start, before the others are asked what they know.
_AUTHORITY_FIRST_S = 3.0

_Trouble = (Unavailable, ConnectionBroken, CallExpired)
MakeLink = Callable[[int, Callable[[int], str]], BucketLink]


class TopologyWatch:
    """The topology in memory, the links it implies, and what each bucket last said of itself."""

    def __init__(self, make_link: MakeLink) -> None:
        self._make_link = make_link
        self._links: dict[int, BucketLink] = {}
        self._known = asyncio.Event()
        self._reconciling: dict[int, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self.topology: Topology | None = None
        #: M as configured; it founds a new store. A stored topology has the last word.
        self.configured_count: int | None = None
        self._refused_configuration = ""
        self._count_problem = ""
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
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._known.wait()
        except TimeoutError:
            raise Unavailable(f"the store is not up yet: {self.what_is_missing()}") from None
        assert self.topology is not None
        return self.topology

    async def reconcile(self, bucket_id: int, theirs: Topology | None) -> None:
        """Agree with a bucket that answered Moved: take its topology if it is newer, else hand it ours.

        Raises:
            Unavailable: the bucket refused ours or can't be asked.
        """
        if theirs is not None:
            self._adopt(theirs)
        if theirs is not None and theirs is self.topology:
            return
        task = self._reconciling.get(bucket_id)
        if task is None:  # many operations may find out at once; one tells the bucket
            task = asyncio.create_task(self._install(bucket_id))
            self._reconciling[bucket_id] = task
            task.add_done_callback(lambda _: self._reconciling.pop(bucket_id, None))
        await asyncio.shield(task)

    async def inspect_all(self) -> None:
        """Ask every bucket for its status, all at once; `statuses` then holds those that answered."""
        answers = await asyncio.gather(
            *(link.inspect(_ASK_TIMEOUT_S) for link in self._links.values()), return_exceptions=True
        )
        for bucket_id, answer in zip(list(self._links), answers, strict=True):
            if isinstance(answer, messages.Status):
                self.statuses[bucket_id] = answer
            elif isinstance(answer, _Trouble):
                self.statuses.pop(bucket_id, None)
            elif isinstance(answer, BaseException):
                raise answer

    # -- the loop ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        self._ensure_links(1)
        alone_until_s = asyncio.get_running_loop().time() + _AUTHORITY_FIRST_S
        while True:
            try:
                await self.inspect_all()
                self._adopt_reported()
                if self.topology is not None:
                    self._check_count(self.topology)
                    await self._catch_up()
                elif 0 in self.statuses or asyncio.get_running_loop().time() > alone_until_s:
                    self._ensure_links(self.configured_count or 1)
                    await self._establish()
            except _Trouble as error:
                events.warning("topology not settled", reason=str(error))
            except Exception as error:  # the watch must outlive any surprise: without it nothing heals
                events.error("topology refresh failed", exc_info=error)
            await asyncio.sleep(_UNSETTLED_REFRESH_S if self.topology is None else REFRESH_S)

    def _ensure_links(self, count: int) -> None:
        for bucket_id in range(len(self._links), count):
            link = self._make_link(bucket_id, self._expected_identity)
            self._links[bucket_id] = link
            link.start()

    def _expected_identity(self, bucket_id: int) -> str:
        topology = self.topology
        return "" if topology is None or bucket_id >= len(topology.identities) else topology.identities[bucket_id]

    def _adopt_reported(self) -> None:
        """Take the newest topology that the buckets report, of one store only.

        Raises:
            Unavailable: their topologies are of different stores and bucket 0, which would know, has none.
        """
        reported = {
            bucket_id: status.topology
            for bucket_id, status in self.statuses.items()
            if status.topology is not None and not status.fault
        }
        if self.topology is None and reported:
            stores = {topology.store_id for topology in reported.values()}
            if 0 in reported:
                stores = {reported[0].store_id}
            if len(stores) > 1:
                raise Unavailable(f"the buckets belong to different stores: {', '.join(sorted(stores))}")
            self._adopt(*(topology for topology in reported.values() if topology.store_id in stores))
        else:
            self._adopt(*reported.values())

    def _adopt(self, *candidates: Topology | None) -> None:
        """Take the newest topology of this store."""
        ours = self.topology
        if ours is not None:
            candidates = tuple(new for new in candidates if new is not None and new.store_id == ours.store_id)
        best = newest(ours, *candidates)
        if best is None or (ours is not None and best.epoch == ours.epoch):
            return
        self.topology = best
        self._ensure_links(len(best.identities))
        self._known.set()
        for link in self._links.values():
            link.check_identity()
        events.info("topology known", epoch=best.epoch, buckets=best.bucket_count, store=best.store_id)

    def _check_count(self, topology: Topology) -> None:
        wanted = self.configured_count
        problem = ""
        if wanted is not None and wanted != topology.bucket_count:
            problem = (
                f"bucket_count is configured as {wanted}, but the store has {topology.bucket_count} buckets; "
                "this release can't change the number, and goes on with the store's"
            )
        if problem and problem != self._count_problem:
            events.error("bucket count refused", configured=wanted, stored=topology.bucket_count)
        self._count_problem = problem

    async def _catch_up(self) -> None:
        """Hand the topology to buckets that are behind."""
        assert self.topology is not None
        for bucket_id, status in self.statuses.items():
            behind = status.topology is None or status.topology.epoch < self.topology.epoch
            # A stranger is told as well: it then refuses by itself whoever asks it.
            if (
                (behind or self._links[bucket_id].stranger)
                and not status.fault
                and bucket_id < len(self.topology.identities)
            ):
                try:
                    await self._install(bucket_id)
                except _Trouble as error:
                    events.warning("topology not installed", bucket=bucket_id, reason=str(error))

    async def _install(self, bucket_id: int) -> None:
        topology = self.topology
        assert topology is not None
        status = await self._links[bucket_id].ask(lambda call, ms: messages.Install(call, ms, topology), _ASK_TIMEOUT_S)
        self.statuses[bucket_id] = status
        self._adopt(status.topology)

    async def _establish(self) -> None:
        """Found a new store, once every bucket is there, empty and without a store."""
        count = self.configured_count
        if count is None or any(bucket_id not in self.statuses for bucket_id in range(count)):
            return
        statuses = [self.statuses[bucket_id] for bucket_id in range(count)]
        if any(status.keys or status.fault for status in statuses):
            return
        identities = tuple(status.identity for status in statuses)
        answer = await self._links[0].ask(lambda call, ms: messages.Establish(call, ms, identities), _ASK_TIMEOUT_S)
        self._adopt(answer.topology)

    def what_is_missing(self) -> str:
        if self.configured_count is None:
            return "no bucket_count is configured"
        away = [f"bucket-{link.bucket_id} ({link.trouble})" for link in self._links.values() if not link.connected]
        holding = [
            f"bucket-{status.bucket_id} ({status.fault or 'holds records but knows of no store'})"
            for status in self.statuses.values()
            if status.fault or (status.keys and status.topology is None)
        ]
        return "waiting for " + (", ".join(away + holding) or "the first topology")
