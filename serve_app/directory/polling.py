"""Keeping up with the store: the directory asks every bucket about once a second what it knows, and tells those behind.

Bucket 0 holds the authority; while it is away the highest epoch that any bucket reports counts.
"""

from __future__ import annotations

import asyncio

from serve_app import events
from serve_app.directory.configuration import Configuration
from serve_app.directory.founding import Founding
from serve_app.directory.settling import topology_of
from serve_app.directory.topology_delivery import ASK_TIMEOUT_S, TopologyDelivery
from serve_app.directory.view import StoreView
from serve_app.wire.connection import NO_ANSWER
from serve_app.wire.messages import Inspect, Status

REFRESH_S, GUEST_REFRESH_S = 1.0, 5.0
_UNSETTLED_REFRESH_S = 0.1
#: How long a start waits for the buckets it has not heard, before it goes by the others.
_FIRST_ANSWERS_S = 3.0


class Polling:
    """Runs for as long as the directory does."""

    def __init__(
        self,
        view: StoreView,
        configuration: Configuration,
        founding: Founding,
        delivery: TopologyDelivery,
        identity: str,
        *,
        guest: bool = False,
    ) -> None:
        """identity: who asks, for bucket 0. guest: as in `Directory`: seldom."""
        self._view = view
        self._configuration = configuration
        self._founding = founding
        self._delivery = delivery
        self._identity = identity
        self._guest = guest
        self._task: asyncio.Task[None] | None = None
        #: Why the buckets' answers make no topology; empty where they do, or where that is not known yet.
        self.unsettled = ""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def refresh(self) -> None:
        """Ask every bucket for its status, all at once, and go by the newest topology that they know."""
        await self._inspect_all()
        view = self._view
        if view.topology is not None:
            view.adopt(*view.reported())

    async def _inspect_all(self) -> None:
        view = self._view
        links = list(view.links.items())  # more may be linked while we ask
        question = Inspect(self._identity, self._configuration.bucket_count or 0)
        epoch = 0 if view.topology is None else view.topology.epoch
        answers = await asyncio.gather(
            *(link.ask(question, ASK_TIMEOUT_S, epoch) for _, link in links), return_exceptions=True
        )
        for (bucket_id, _), answer in zip(links, answers, strict=True):
            if bucket_id not in view.links:
                continue  # let go meanwhile
            if isinstance(answer, Status):
                view.statuses[bucket_id] = answer
            elif isinstance(answer, NO_ANSWER):
                view.statuses.pop(bucket_id, None)
            elif isinstance(answer, BaseException):
                raise answer

    async def _run(self) -> None:
        view = self._view
        view.ensure_links(range(1))
        started_s = asyncio.get_running_loop().time()
        while True:
            try:
                await self.refresh()
                if view.topology is None:
                    await self._settle_first(asyncio.get_running_loop().time() - started_s > _FIRST_ANSWERS_S)
                if view.topology is not None:
                    self._configuration.compare(view)
                    await self._delivery.catch_up(view.topology)
                else:
                    await self._founding.establish()
                self.unsettled = ""
            except NO_ANSWER as error:
                if str(error) != self.unsettled:  # it is tried ten times a second
                    events.warning("topology not settled", reason=str(error))
                self.unsettled = str(error)
            except Exception as error:  # polling must outlive any surprise: without it nothing heals
                events.error("topology refresh failed", exc_info=error)
            settled_s = GUEST_REFRESH_S if self._guest else REFRESH_S
            await asyncio.sleep(_UNSETTLED_REFRESH_S if view.topology is None else settled_s)

    async def _settle_first(self, waited: bool) -> None:
        """Adopt the first topology, once the buckets that it lists have been heard, and those configured that there are.

        Bucket 0 is asked first. Then those that it lists, and those that are configured, as far as they are there: a volume
        of another store, perhaps a smaller one, may have come in its place, and only the others can tell. The store that
        most of the buckets heard belong to wins. Who does not answer is waited for a while.

        Raises:
            Unavailable: which buckets there are is not said; or as many belong to one store as to another, and nobody can
                say which is the right one.
        """
        view = self._view
        reported = view.reported()
        if not reported:
            if 0 in view.statuses or waited:
                view.ensure_links(range(self._configuration.bucket_count or 1))
            return
        expected = set(range(max(len(topology.identities) for topology in reported)))
        configured = set(range(self._configuration.bucket_count or 1))
        if configured - expected and not waited:
            expected |= configured & set(await self._founding.buckets_there())  # none is made for this
        view.ensure_links(expected)
        if not waited and expected - view.statuses.keys():
            return
        view.adopt(topology_of(view.statuses.values()))
