"""Whoever lists keys, in small pages, while they move and things crash: each page is held against the keys' histories.

A page is a read of every key in its range, each at some instant between its question and its answer: the keys that are in it
were there, those that are not were missing. So a key that is there throughout is on its page, once, or the checker of
histories finds no order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import NamedTuple

from serve_app.directory.directory import Directory
from serve_app.directory.listing import Page, Question
from serve_app.errors import StoreError, Unavailable
from tests.simulation.world import World
from tests.support.linearizability import Event

#: Lists in one run, pages in each, and how often a page is asked for.
_LISTS, _PAGES, _TRIES = 20, 12, 4
#: What a page says of the time in which it was made says little where that was long.
_AT_MOST_S = 3.0


class Listed(NamedTuple):
    """A page as a client had it."""

    asked: Question
    page: Page
    called_s: float
    ended_s: float


class Lister:
    """See the module."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pages: list[Listed] = []

    async def run(self) -> None:
        """List now and then, mostly while keys move, for as long as nobody cancels."""
        world, rng = self.world, self.world.rng
        for _ in range(_LISTS):
            await world.next_moment(2.0)
            await asyncio.sleep(rng.expovariate(rng.choice((500, 20, 2))))
            await self.list_all(
                Question(
                    prefix=rng.choice((b"", b"", b"k", b"k1", b"s", b"n")),
                    delimiter=rng.choice((b"", b"", b"", b".")),
                    limit=rng.choice((1, 2, 4, 1000)),
                    values=rng.random() < 0.3,
                )
            )

    async def list_all(self, asked: Question, *, pages: int = _PAGES) -> bool:
        """So many pages, each asked for until there is one; whether none failed."""
        world = self.world
        for _ in range(pages):
            called_s = world.loop.time()
            page = await self._page(asked)
            if page is None:
                return False
            ended_s = world.loop.time()
            shown = [entry.key.decode() for entry in page.entries], page.prefixes
            world.note(f"list {asked} since {called_s:.4f}: {shown} next {page.next!r}")
            world.counts["pages of lists"] += 1
            self._check(asked, page)
            if ended_s - called_s < _AT_MOST_S:
                self.pages.append(Listed(asked, page, called_s, ended_s))
            if page.next is None:
                world.counts["lists"] += 1
                return True
            asked = Question(asked.prefix, page.next, asked.delimiter, asked.limit, asked.values)
        return True

    async def _page(self, asked: Question) -> Page | None:
        world = self.world

        async def ask(directory: Directory) -> Page:
            return await directory.listing.page(asked)

        for _ in range(_TRIES):
            try:
                return await world.rng.choice(world.directories).serve("list", ask)
            except (Unavailable, ConnectionResetError) as error:
                world.note(f"list: {error!r}")
            except StoreError as error:
                if "can't be read" not in str(error) and "damaged" not in str(error):
                    world.fail("lists", f"{asked} is answered with {error!r}")
            await asyncio.sleep(world.rng.expovariate(5))
        return None

    def _check(self, asked: Question, page: Page) -> None:
        """Of the page alone: it is in order, within its range, and no longer than it may be."""
        names = sorted([entry.key for entry in page.entries] + page.prefixes)
        in_order = [entry.key for entry in page.entries] == sorted({entry.key for entry in page.entries})
        in_order = in_order and page.prefixes == sorted(set(page.prefixes))
        within = all(name > asked.start_after and name.startswith(asked.prefix) for name in names)
        ended = page.next is None or (page.next > asked.start_after and all(name <= page.next for name in names))
        if not in_order or not within or not ended or len(names) > asked.limit:
            self.world.fail("lists", f"{asked} is answered with {page}")

    def events(self, keys: Collection[str]) -> list[Event]:
        """What the pages say of these keys, of which nobody wrote others."""
        events: list[Event] = []
        for listed in self.pages:
            there = {entry.key.decode(): entry for entry in listed.page.entries}
            for key in sorted(there.keys() - set(keys)):
                self.world.fail("lists", f"a list has {key!r}, which nobody has written")
            for key in keys:
                if not _covers(listed, key.encode()):
                    continue
                entry = there.get(key)
                if entry is None:
                    events.append(Event(key, "get", None, None, listed.called_s, listed.ended_s))
                elif listed.asked.values:
                    value = entry.value.decode()
                    events.append(Event(key, "get", None, value, listed.called_s, listed.ended_s, entry.revision))
                else:
                    size, revision = entry.size, entry.revision
                    events.append(Event(key, "head", None, size, listed.called_s, listed.ended_s, revision))
        return events


def _covers(listed: Listed, key: bytes) -> bool:
    """Whether a page says of a key that it is there or not: of those with a common prefix it says that there are some."""
    asked, page = listed.asked, listed.page
    if not key.startswith(asked.prefix):
        return False
    name = key
    if asked.delimiter and (at := key.find(asked.delimiter, len(asked.prefix))) >= 0:
        name = key[: at + len(asked.delimiter)]
    return name > asked.start_after and (page.next is None or name <= page.next) and name not in page.prefixes
