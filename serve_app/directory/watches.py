"""Watches: those who follow the changes of keys with one prefix, from now on or from where they were.

All of a directory follow one merged feed, so the buckets are asked once, whoever watches. Who comes back to an older place
than that feed still has reads alone, from the buckets' disks, until it is where the others are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NamedTuple

from serve_app.changes import tag_of
from serve_app.directory import places
from serve_app.directory.merged_feed import Event, MergedFeed
from serve_app.directory.places import Place, Position
from serve_app.directory.view import StoreView
from serve_app.errors import HistoryLost, Unavailable

#: Watches of one directory, and those of them that read alone.
MAX_WATCHES = 1000
_MAX_ALONE = 32
#: Events that are looked at, at once.
_AT_ONCE = 1000
#: What was looked at last is kept for others that look at the same.
_LOOKS_KEPT = 64
#: The feed is read on for so long after the last watch has gone: another may come.
_LINGER_S = 10.0


class Some(NamedTuple):
    """events: of keys with the prefix, in order; there may be none. place: after them.

    looked_at: the number of the feed that all follow, and those of the first event that was looked at and of the next; None
    where it was not as all others do. Whoever has the same prefix and looked at the same is told the same."""

    events: list[Event]
    place: Place
    looked_at: tuple[int, int, int] | None = None


class Watches:
    """See the module. On the directory's loop."""

    def __init__(self, view: StoreView, timeout_s: float) -> None:
        self._view, self._timeout_s = view, timeout_s
        self._shared: MergedFeed | None = None
        self._watching = self._alone = 0
        self._stopping: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        #: What was looked at last, by feed, events and prefix.
        self.looked_at: dict[tuple[int, int, int, bytes], Some] = {}

    @property
    def count(self) -> int:
        """How many watches there are."""
        return self._watching

    async def stop(self) -> None:
        if self._stopping is not None:
            self._stopping.cancel()
        if self._shared is not None:
            await self._shared.stop()
            self._shared = None
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def watch(self, prefix: bytes, last_id: str, heartbeat_s: float) -> AsyncIterator[Some]:
        """What changes, from when this returns or from the place that `last_id` names, if it names one.

        The first step is empty, comes at once and says where that is: who is cut off before anything has changed comes back
        to there. Each other brings what there is then, or after `heartbeat_s` seconds without anything nothing. It ends with
        HistoryLost where that is so, and with Unavailable where whoever watches does not keep up.

        Raises:
            InvalidRequest: `last_id` is no place of this store.
            HistoryLost: that place is not known any more.
            Unavailable: a bucket can't be asked, or there are too many watches.
        """
        if self._watching >= MAX_WATCHES:
            raise Unavailable("too many watches are open at this directory")
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        topology = self._view.topology or await self._view.wait_for_topology(deadline_s)
        came_from: dict[int, Position] | None = None
        if last_id:
            store, came_from = places.parse(last_id)
            if store != tag_of(topology.store_id):
                raise HistoryLost("the Last-Event-ID is of another store")
        self._watching += 1
        watch = _Watch(self, prefix, heartbeat_s)
        try:
            await watch.begin(came_from, deadline_s)
        except BaseException:
            self._watching -= 1
            self._linger()
            raise
        told = watch.follow()
        await anext(told)  # what has not begun has no end: it would count for ever where nobody follows it
        return told

    async def shared(self, deadline_s: float) -> MergedFeed:
        """The feed that all follow, begun if need be. Raises Unavailable."""
        feed = self._shared
        if feed is None or feed.lost:
            if feed is not None:
                self._end(feed)
            topology = self._view.topology or await self._view.wait_for_topology(deadline_s)
            feed = self._shared = MergedFeed(self._view, followers=lambda: self._watching)
            feed.begin(topology)
        await feed.ready(deadline_s)
        if feed.lost:
            raise Unavailable(feed.lost)
        return feed

    async def read_alone(self, place: Place) -> MergedFeed:
        """A feed from an older place. Raises Unavailable."""
        if self._alone >= _MAX_ALONE:
            raise Unavailable("too many watches catch up at this directory; try again in a moment")
        self._alone += 1
        topology = self._view.topology
        assert topology is not None, "the shared feed has begun"
        feed = MergedFeed(self._view, place)
        feed.begin(topology)
        return feed

    def alone_no_more(self, feed: MergedFeed) -> None:
        self._alone -= 1
        self._end(feed)

    def gone(self) -> None:
        """A watch has ended."""
        self._watching -= 1
        self._linger()

    def store_id(self) -> str:
        topology = self._view.topology
        return "" if topology is None else topology.store_id

    def _end(self, feed: MergedFeed) -> None:
        task = asyncio.get_running_loop().create_task(feed.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _linger(self) -> None:
        if self._watching == 0 and self._shared is not None:
            if self._stopping is not None:
                self._stopping.cancel()
            self._stopping = asyncio.get_running_loop().call_later(_LINGER_S, self._stop_if_idle)

    def _stop_if_idle(self) -> None:
        self._stopping = None
        if self._watching == 0 and self._shared is not None:
            self._end(self._shared)
            self._shared = None


class _Watch:
    """One of them."""

    def __init__(self, watches: Watches, prefix: bytes, heartbeat_s: float) -> None:
        self._watches, self._prefix, self._heartbeat_s = watches, prefix, heartbeat_s
        #: After all that it was told.
        self._place: Place = {}
        self._feed: MergedFeed | None = None
        self._alone = False
        #: The number of the next event to look at, and whether the place is that of the feed there.
        self._next = 0
        self._with_others = True

    async def begin(self, came_from: dict[int, Position] | None, deadline_s: float) -> None:
        shared = await self._watches.shared(deadline_s)
        self._feed = shared
        if came_from is None:
            self._place, self._next = dict(shared.place), shared.end
            return
        self._place = came_from
        self._with_others = False
        # What the shared feed has not come to yet, its bucket may never have come to: it is asked.
        ahead = any(
            bucket_id in shared.place and shared.place[bucket_id].revision < at.revision
            for bucket_id, at in came_from.items()
        )
        if ahead or not self._join(shared):
            self._feed, self._alone = await self._watches.read_alone(came_from), True
            try:
                # What is lost is lost at once; a bucket that is away is waited for.
                await self._feed.ready(deadline_s)
                if self._feed.lost:
                    raise HistoryLost(self._feed.lost)
            except BaseException:
                self._watches.alone_no_more(self._feed)
                raise

    async def follow(self) -> AsyncIterator[Some]:
        """The first two steps bring nothing, and come at once: one to begin with, and one that says where this begins."""
        assert self._feed is not None, "it has begun"
        try:
            for _ in range(2):
                yield Some([], self._place)
            while True:
                feed = self._feed
                if self._next < feed.first:
                    raise Unavailable("this watch did not keep up with what changes")
                if self._next < feed.end:
                    yield self._look(feed)
                    continue
                if feed.lost:
                    raise HistoryLost(feed.lost)
                if self._alone and await self._join_others():
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._heartbeat_s):
                        await feed.news()
                        continue
                yield Some([], self._place)
        finally:
            if self._alone:
                self._watches.alone_no_more(self._feed)
            self._watches.gone()

    def _look(self, feed: MergedFeed) -> Some:
        if not self._with_others:
            return self._look_alone(feed)
        # Looked at once for all that are at the same place and want the same.
        key = (feed.number, self._next, feed.end, self._prefix)
        some = self._watches.looked_at.get(key)
        if some is None:
            some = self._watches.looked_at[key] = self._look_alone(feed)
            while len(self._watches.looked_at) > _LOOKS_KEPT:
                del self._watches.looked_at[next(iter(self._watches.looked_at))]
        assert some.looked_at is not None, "it is as the others are"
        self._place, self._next = some.place, some.looked_at[2]
        return some

    def _look_alone(self, feed: MergedFeed) -> Some:
        first, some = self._next, feed.between(self._next, _AT_ONCE)
        place = dict(self._place)
        told: list[Event] = []
        for event in some:
            at = place.get(event.bucket_id)
            if at is not None and event.change.revision <= at.revision and not self._with_others:
                continue  # told before it joined the others
            read = feed.place[event.bucket_id]
            began = at.began if at is not None and at.tag == read.tag else read.began
            place[event.bucket_id] = Position(read.tag, event.change.revision, began)
            if event.change.key.startswith(self._prefix):
                told.append(event)
        self._next += len(some)
        self._place = place
        if self._alone:
            feed.forget_before(self._next)
        elif not self._with_others:
            self._be_like_the_others(feed)
        elif first < self._next:
            return Some(told, place, (feed.number, first, self._next))
        return Some(told, place)

    def _be_like_the_others(self, feed: MergedFeed) -> None:
        """Where it has been told no more than they have."""
        ahead = any(
            bucket_id not in feed.place or feed.place[bucket_id].revision < at.revision
            for bucket_id, at in self._place.items()
        )
        if self._next == feed.end and not ahead:
            self._place, self._with_others = dict(feed.place), True

    def _join(self, shared: MergedFeed) -> bool:
        """Go on with the others, where nothing is missing between what was told and what they still have."""
        for bucket_id, at in shared.start.items():
            told = self._place.get(bucket_id)
            if told is None or told.tag != at.tag or told.revision < at.revision:
                return False
        # Of what a bucket told before it left, and came back, this one may not have heard. It knows so where it comes to a
        # window that the bucket gave away then; the others may be past that already.
        for (source, target), revision in shared.taken.items():
            giver, taker = self._place.get(source), self._place.get(target)
            if giver is not None and giver.began and (taker is None or taker.revision < revision):
                return False
        self._feed, self._next, self._with_others = shared, shared.first, False
        return True

    async def _join_others(self) -> bool:
        """Once it has caught up. Raises nothing: it may go on alone."""
        alone = self._feed
        assert alone is not None, "it reads alone"
        self._place = {**self._place, **alone.place}
        loop = asyncio.get_running_loop()
        try:
            shared = await self._watches.shared(loop.time() + 1.0)
        except Unavailable:
            return False
        if not self._join(shared):
            return False
        self._alone = False
        self._watches.alone_no_more(alone)
        return True
