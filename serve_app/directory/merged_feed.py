"""The feeds of all buckets as one, in an order that no key's changes contradict.

Each bucket is asked for what comes after the last place that was heard of; nothing is kept at the bucket. Changes of one key
are in the feeds of several buckets where it has moved. So a bucket says when it has taken a window from another, and what the
other had given until then (`changes.TAKEN`): what comes after that waits until the other's feed has been read that far. That
can't go round in a circle, since the one happened before the other.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from serve_app import events
from serve_app.changes import PUT, TAKEN, Change, tag_of
from serve_app.directory.places import Place, Position
from serve_app.directory.view import StoreView
from serve_app.errors import StoreError, Unavailable
from serve_app.topology import MAX_REVISION, Topology
from serve_app.wire.connection import NO_ANSWER, answered
from serve_app.wire.messages import Changed, Changes

#: How long a bucket may wait for changes before it answers that there are none.
_WAIT_MS = 4000
_ASK_TIMEOUT_S = 8.0
_PAUSE_S = 0.1
#: Another directory, or a bucket, may know for so long of what this one has not heard yet.
_JOINED_WITHIN_S = 3.0
#: Those who follow are told together, at most this often: what comes in between leaves in one piece. Where there are many,
#: less often: each piece costs, whatever is in it.
_TELL_EVERY_S = 0.1
_TOLD_PER_S = 200
#: What is kept for those who follow together.
_MAX_EVENTS = 65_536
_MAX_BYTES = 16 * 1024 * 1024
#: Where one alone follows, no more is asked for while this much is ahead of it.
_MAX_AHEAD = 4000
_numbers = itertools.count()


class Event(NamedTuple):
    """A change, and the bucket whose feed it is in."""

    bucket_id: int
    change: Change


def last_puts(events: Sequence[Event]) -> dict[bytes, int]:
    """Places, by key. Of several puts of a key the last alone is told with its value: that is the one that there is now."""
    return {event.change.key: number for number, event in enumerate(events) if event.change.kind == PUT}


class MergedFeed:
    """See the module. On the directory's loop."""

    def __init__(self, view: StoreView, place: Place | None = None, followers: Callable[[], int] = lambda: 1) -> None:
        """place: where to begin; now, where None. From a place on no more is read than is taken (`forget_before`): there may
        be much of it. followers: how many follow it."""
        self._followers = followers
        self._view = view
        #: Tells this feed's numbers from another's.
        self.number = next(_numbers)
        self._log: deque[Event] = deque()
        self._bytes = 0
        #: The number of the first event in the log.
        self.first = 0
        #: The place before the first event, and the one after the last.
        self.start: dict[int, Position] = dict(place or {})
        self.place: dict[int, Position] = dict(place or {})
        #: By source and target, the revision with which the target said last that it had taken a window.
        self.taken: dict[tuple[int, int], int] = {}
        #: The topology's, when this began.
        self._base = 0
        #: Buckets whose feeds are read from now on, and not from where they joined.
        self._from_now: set[int] = set()
        self._begins_now = place is None
        #: Why it can't be followed any further; empty while it can.
        self.lost = ""
        #: Buckets that have answered.
        self._heard: set[int] = set()
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._news: asyncio.Future[None] | None = None
        self._moved: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._told_s = 0.0
        self._loop = asyncio.get_running_loop()

    def begin(self, topology: Topology) -> None:
        """Read from all buckets, in the background. topology: the one that there is."""
        self._base = topology.revision_base
        if self.place and max(at.revision for at in self.place.values()) < topology.revision_base:
            self._lose_by_loss()
        if self._begins_now:
            self._from_now.update(range(len(topology.identities)))
        self._view.on_adopted.append(self._take_part)
        self._take_part()

    async def stop(self) -> None:
        """Ask nobody any more."""
        if self._take_part in self._view.on_adopted:
            self._view.on_adopted.remove(self._take_part)
        if self._timer is not None:
            self._timer.cancel()
        readers = list(self._readers.values())
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    async def ready(self, deadline_s: float) -> None:
        """Wait until all buckets have been heard, so that it is known where they begin, or that it is lost.

        Raises:
            Unavailable: a bucket could not be asked by then.
        """
        topology = self._view.topology
        assert topology is not None, "it has begun"
        while missing := [bucket for bucket in range(len(topology.identities)) if bucket not in self._heard]:
            if self.lost:
                return
            try:
                async with asyncio.timeout_at(deadline_s):
                    await self._next_move()
            except TimeoutError:
                raise Unavailable(f"bucket-{missing[0]} can't be asked for its changes now") from None
            topology = self._view.topology or topology

    @property
    def end(self) -> int:
        """The number that the next event will have."""
        return self.first + len(self._log)

    def between(self, start: int, most: int) -> list[Event]:
        """The events from number `start` on, at most that many."""
        at = start - self.first
        return [self._log[place] for place in range(at, min(at + most, len(self._log)))]

    def forget_before(self, number: int) -> None:
        """Of a feed that one alone follows: it has taken the events before that one."""
        while self.first < number:
            self._forget_first()
        self._note_move()

    async def news(self) -> None:
        """Wait until there is more, or it is lost."""
        if self._news is None or self._news.done():
            self._news = self._loop.create_future()
        await asyncio.shield(self._news)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _take_part(self) -> None:
        """Read from the buckets that the topology has now, and from no others."""
        topology = self._view.topology
        if topology is None:
            return
        if topology.revision_base > self._base:
            self._lose_by_loss()
        wanted = range(len(topology.identities))
        for bucket_id in wanted:
            if bucket_id not in self._readers:
                self._readers[bucket_id] = self._loop.create_task(self._read(bucket_id))
        for bucket_id in [bucket_id for bucket_id in self._readers if bucket_id not in wanted]:
            self._readers.pop(bucket_id).cancel()
            self._from_now.discard(bucket_id)  # if it comes back, it is read from there
        self._note_move()

    async def _read(self, bucket_id: int) -> None:
        while not self.lost:
            while self._is_ahead(bucket_id):
                await self._next_move()
            try:
                await self._take(bucket_id, await self._ask(bucket_id))
            except (*NO_ANSWER, StoreError):
                await asyncio.sleep(_PAUSE_S)
            except Exception as error:  # it must outlive any surprise: whoever follows would wait for ever
                events.error("feed failed", exc_info=error, bucket=bucket_id)
                self._lose("the store made a mistake; its log says more")

    def _is_ahead(self, bucket_id: int) -> bool:
        """Whether no more is to be read of a bucket until something is taken. Where its feed begins is always asked for: that
        is waited for before anything can be taken (`ready`)."""
        full = len(self._log) > _MAX_AHEAD or self._bytes > _MAX_BYTES
        return full and not self._begins_now and bucket_id in self.place

    async def _ask(self, bucket_id: int) -> Changed:
        link = self._view.links.get(bucket_id)
        if link is None:
            raise Unavailable(f"the store goes on without bucket-{bucket_id}")
        at = self.place.get(bucket_id)
        after = at.revision if at is not None else MAX_REVISION if bucket_id in self._from_now else 0
        # Where a bucket is first heard nobody waits for a change: whoever begins waits for all buckets (`ready`).
        wait_ms = _WAIT_MS if bucket_id in self._heard and at is not None else 0
        connection = link.connection()
        if connection is None:
            raise Unavailable(f"bucket-{bucket_id} is away: {link.trouble}")
        body = Changes(after, wait_ms)
        return answered(bucket_id, await connection.call(body, self._loop.time() + _ASK_TIMEOUT_S))

    async def _take(self, bucket_id: int, answer: Changed) -> None:
        tag, at = tag_of(answer.identity), self.place.get(bucket_id)
        if at is None or at.tag != tag:
            # Not heard of before, or another storage: what it has told since it joined is asked for.
            if bucket_id in self._from_now:
                self.place[bucket_id] = Position(tag, answer.upto)
            elif answer.since > answer.began:
                self._lose(f"bucket-{bucket_id} goes on with another storage, or has told too much since it joined")
                return
            else:
                self.place[bucket_id] = Position(tag, answer.since, answer.began)
            self._from_now.discard(bucket_id)
            self._heard.add(bucket_id)
            self.start.setdefault(bucket_id, self.place[bucket_id])
            self._note_move()
            return
        if answer.since > at.revision:
            self._lose(f"bucket-{bucket_id} knows its changes since revision {answer.since} only")
            return
        if answer.upto < at.revision:
            self._lose(f"bucket-{bucket_id} has not come to revision {at.revision} yet")
            return
        if bucket_id not in self._heard:
            self._heard.add(bucket_id)
            self._note_move()
        for change in answer.changes:
            if change.kind == TAKEN:
                # What came before is there for those who follow, and for readers that wait for this very place.
                self._note_move()
                self._tell()
                await self._wait_for(change)
                if self.lost:
                    return
                self.taken[change.source, bucket_id] = change.revision
            else:
                self._append(Event(bucket_id, change))
            self.place[bucket_id] = at._replace(revision=change.revision)
        if answer.upto > self.place[bucket_id].revision:
            self.place[bucket_id] = at._replace(revision=answer.upto)
        self._note_move()
        if answer.changes:
            self._tell()

    async def _wait_for(self, taken: Change) -> None:
        """Until the feed of the window's source has been read as far as it went when it gave the window away."""
        known_until_s = 0.0
        while not self.lost:
            at = self.place.get(taken.source)
            if at is not None and at.tag == taken.key.decode() and at.revision >= taken.reached:
                if taken.reached < at.began:
                    self._lose(f"bucket-{taken.source} has left, and come back without the changes of before")
                return
            if taken.source in self._readers and (at is None or at.tag == taken.key.decode()):
                await self._next_move()
                continue
            # It has left, or is another storage by now; unless this directory has yet to hear that it has joined.
            known_until_s = known_until_s or self._loop.time() + _JOINED_WITHIN_S
            if self._loop.time() >= known_until_s:
                self._lose(f"bucket-{taken.source} has left before its last changes were heard of")
                return
            with suppress(TimeoutError):
                async with asyncio.timeout_at(known_until_s):
                    await self._next_move()

    def _append(self, event: Event) -> None:
        self._log.append(event)
        self._bytes += len(event.change.key)
        # Of one that is read alone nothing is forgotten that was not taken: it would be read, and forgotten, for ever.
        while self._begins_now and (len(self._log) > _MAX_EVENTS or self._bytes > _MAX_BYTES):
            self._forget_first()

    def _forget_first(self) -> None:
        bucket_id, change = self._log.popleft()
        self.first += 1
        self._bytes -= len(change.key)
        self.start[bucket_id] = self.place[bucket_id]._replace(revision=change.revision)

    def _lose_by_loss(self) -> None:
        """All that a lost storage has told may not have been heard, and what is in its place may leave before it is asked."""
        self._lose("a storage was lost, and what it told last is not known")

    # -- telling -----------------------------------------------------------------------------------------------------

    def _lose(self, why: str) -> None:
        self.lost = self.lost or why
        self._note_move()
        self._tell_now()

    def _note_move(self) -> None:
        moved, self._moved = self._moved, None
        if moved is not None and not moved.done():
            moved.set_result(None)

    async def _next_move(self) -> None:
        if self._moved is None or self._moved.done():
            self._moved = self._loop.create_future()
        await asyncio.shield(self._moved)

    def _tell(self) -> None:
        if self._timer is not None:
            return
        every_s = max(_TELL_EVERY_S, self._followers() / _TOLD_PER_S)
        wait_s = self._told_s + every_s - self._loop.time()
        if wait_s <= 0:
            self._tell_now()
        else:
            self._timer = self._loop.call_later(wait_s, self._tell_now)

    def _tell_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._told_s = self._loop.time()
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)
