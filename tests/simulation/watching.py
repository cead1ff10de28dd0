"""Whoever follows what changes: watchers that come and go, at one directory and then at another, with the id of what they
heard last.

What they must hear is known from the disks: every change that became durable in the feed of a bucket after a watch began.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from serve_app.changes import TAKEN
from serve_app.directory import places
from serve_app.directory.directory import Directory
from serve_app.directory.watches import Some
from serve_app.errors import HistoryLost, Unavailable
from tests.simulation.clients import Clients
from tests.simulation.world import World

_HEARTBEAT_S = 1.0
_PREFIXES = ("", "", "k", "k1", "n")
#: Ids that a watcher may still come back with.
_IDS = 4
#: When nothing is wrong any more everything must have been heard within this.
_HEARD_WITHIN_S = 15.0


@dataclass
class _Id:
    """Of an event: what it stands for, and the last revision of each key that was heard with it."""

    text: str
    heard: dict[bytes, int] = field(default_factory=dict)


class Watcher:
    """One of them."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = f"watcher-{number}"
        self.prefix = world.rng.choice(_PREFIXES).encode()
        #: Since when it must hear of everything; infinite while it has no place.
        self.since_s = float("inf")
        #: Keys and revisions, since then.
        self.heard: dict[tuple[bytes, int], int] = {}
        self._ids: list[_Id] = []
        #: In this connection.
        self._last: dict[bytes, int] = {}
        self._connection = 0
        self.calm = False

    async def run(self) -> None:
        """For as long as nobody cancels."""
        world, rng = self.world, self.world.rng
        while True:
            came_with = _Id("")
            if self._ids:
                came_with = self._ids[-1] if rng.random() < 0.7 else rng.choice(self._ids)
            else:
                self._begin_anew()
            self._connection += 1
            self._last = dict(came_with.heard)
            connection = self._connection

            async def follow(directory: Directory, number: int = connection, last: str = came_with.text) -> None:
                await self._follow(directory, number, last)

            patience_s = None if self.calm else rng.expovariate(1 / 4)
            directory = rng.choice(world.directories)
            world.note(f"{self.name} follows {self.prefix!r} at {directory.name} from {came_with.text!r}")
            try:
                async with asyncio.timeout(patience_s):
                    await directory.serve(self.name, follow)
            except HistoryLost as error:
                self._lose(str(error))
            except (Unavailable, ConnectionResetError, TimeoutError) as error:
                world.note(f"{self.name}: {error!r}")
            await asyncio.sleep(rng.expovariate(5))

    async def _follow(self, directory: Directory, connection: int, last_id: str) -> None:
        """In the directory's process."""
        told = await directory.watches.watch(self.prefix, last_id, _HEARTBEAT_S)
        if connection == self._connection and self.since_s == float("inf"):
            self.since_s = self.world.loop.time()
        async for some in told:  # where this is cancelled it is there, so it needs no closing
            if connection == self._connection:
                self._hear(some, places.shown(directory.watches.store_id(), some.place))

    def _hear(self, some: Some, name: str) -> None:
        world = self.world
        for event in some.events:
            kind, key, revision = event.change[:3]
            world.trace(f"{self.name} hears of {event}")
            world.counts["events of watches"] += 1
            if revision <= self._last.get(key, 0):
                before = self._last[key]
                world.fail("watches", f"{self.name} hears of {event} after revision {before} of that key")
            self._last[key] = revision
            self.heard[key, revision] = kind
        self._ids.append(_Id(name, dict(self._last)))
        del self._ids[:-_IDS]

    def _lose(self, why: str) -> None:
        """It is told that its history is lost: it begins anew."""
        world = self.world
        world.note(f"{self.name} is told: {why}")
        world.counts["histories lost"] += 1
        if not world.may_lose_history(why, self.since_s):
            world.fail("watches", f"{self.name} lost its history, and nothing was lost: {why}")
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.since_s = float("inf")
        self.heard.clear()
        self._ids.clear()

    def missed(self) -> str:
        """What it should have heard of, and has not; empty where there is nothing."""
        if self.since_s == float("inf"):
            return "where it begins"
        for at_s, bucket_id, change in self.world.changes:
            wanted = change.kind != TAKEN and at_s > self.since_s and change.key.startswith(self.prefix)
            if wanted and self.heard.get((change.key, change.revision)) != change.kind:
                return f"{change} of bucket-{bucket_id}, durable at {at_s:.4f}"
        return ""


async def all_is_heard(world: World, watchers: list[Watcher]) -> None:
    """Wait until every watcher has heard all that it must; they go on meanwhile."""
    deadline_s = world.loop.time() + _HEARD_WITHIN_S
    for watcher in watchers:
        watcher.calm = True
    while behind := [(watcher, missed) for watcher in watchers if (missed := watcher.missed())]:
        if world.loop.time() >= deadline_s:
            for watcher, what in behind:
                world.fail(
                    "watches", f"{watcher.name}, which follows since {watcher.since_s:.4f}, has not heard of {what}"
                )
            return
        await asyncio.sleep(0.2)


def check_told(world: World, clients: Clients) -> None:
    """Every revision that a client was told of is in a feed."""
    told = {(change.key.decode(), change.revision) for _, _, change in world.changes if change.kind != TAKEN}
    for event in clients.events:
        for each in event.parts or (event,):
            if each.revision and (each.key, each.revision) not in told:
                world.fail("watches", f"no feed tells of {each}")
