"""Clients at work on few keys through several directories, and the history of what they saw.

Most operations overlap with another on their key, or the check of the history would prove little. A key that has had too many
operations of unknown fate makes way for a fresh one, for the same reason.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter
from typing import Any

from serve_app import placement
from serve_app.errors import DiskFull, OutcomeUnknown, Unavailable
from tests.simulation.nodes import DirectoryNode
from tests.simulation.world import Window, World
from tests.support.asking import delete, described, get, put
from tests.support.linearizability import READS, Event, Kind

#: A directory answers this long after the deadline at the latest, not counting the time it slept.
ANSWER_SLACK_S = 0.3
_MAX_UNKNOWN_PER_KEY = 4
#: How long a burst waits for a move to begin.
_MOVE_BEGINS_S = 3.0
_WINDOW_BEGINS_S = 0.3
_REFUSED = (Unavailable, DiskFull)
#: Of the clients' reads one in this many asks for no more than what the value is like.
_HEAD_EVERY = 7
#: Trials (trials.py) in which every operation that was sent is answered.
_NOTHING_BREAKS = ("full-source", "full-target", "quick-changes")


class Clients:
    """The workload of a run. `events` is its history."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[Event] = []
        self.outcomes: Counter[str] = Counter()
        #: Keys in use: the hot ones first. A number tells a key from those it followed.
        self._generation = [0] * (world.plan.hot_keys + world.plan.cold_keys)
        self._unknown: Counter[str] = Counter()
        self._number = 0
        self._bursts: list[asyncio.Task[None]] = []
        #: Set when the burst of that number begins, or would have.
        self.begun = [asyncio.Event() for _ in world.plan.bursts_s]

    async def work(self) -> None:
        """Run all clients to their end."""
        self._bursts = [asyncio.create_task(self._begin(number)) for number in range(len(self.begun))]
        first = [
            number for number in range(len(self._generation)) if self.world.rng.random() < self.world.plan.first_keys
        ]
        await asyncio.gather(
            *(self.operate(self.world.rng.choice(self.world.directories), "put", self._key(number)) for number in first)
        )
        await asyncio.gather(*(self._client() for _ in range(self.world.plan.client_count)))

    async def _begin(self, number: int) -> None:
        """Ends when the burst is to begin: at its time, and many of them when keys begin to move."""
        world, plan = self.world, self.world.plan
        await asyncio.sleep(plan.bursts_s[number])
        if number:
            await self.begun[number - 1].wait()
        if world.rng.random() < plan.bursts_in_moves:
            await world.next_move(_MOVE_BEGINS_S)
            for _ in range(world.rng.choice((0, 1, 2, 4))):
                await world.next_window(_WINDOW_BEGINS_S)
        self.begun[number].set()
        world.moment()

    async def _client(self) -> None:
        """All clients begin their bursts together; one that is held up goes on when it can."""
        world, plan, rng = self.world, self.world.plan, self.world.rng
        home = rng.choice(world.directories)
        for burst in self.begun:
            await burst.wait()
            for _ in range(plan.burst_operations):
                await asyncio.sleep(rng.expovariate(1 / plan.think_s))
                directory = home if rng.random() < 0.8 else rng.choice(world.directories)
                await self.operate(directory, self._draw_kind(), self._draw_key())

    def _draw_kind(self) -> Kind:
        drawn = self.world.rng.random() - self.world.plan.puts
        if drawn < 0:
            return "put"
        if drawn < self.world.plan.deletes:
            return "delete"
        return "head" if self._number % _HEAD_EVERY == 0 else "get"

    def _draw_key(self) -> str:
        plan, rng = self.world.plan, self.world.rng
        if plan.follows_moves and rng.random() < plan.follows_moves:
            windows = list(self.world.last_windows)
            for some in (windows[-1:], windows) if rng.random() < 0.6 else (windows,):
                moving = [number for number in range(len(self._generation)) if self._moves(number, some)]
                if moving:
                    return self._key(rng.choice(moving))
        cold = plan.cold_keys > 0 and rng.random() < 0.2
        number = plan.hot_keys + rng.randrange(plan.cold_keys) if cold else rng.randrange(plan.hot_keys)
        return self._key(number)

    def _key(self, number: int) -> str:
        key = f"k{number}.{self._generation[number]}"
        if self._unknown[key] >= _MAX_UNKNOWN_PER_KEY:
            self._generation[number] += 1
            key = f"k{number}.{self._generation[number]}"
        return key

    def _moves(self, number: int, windows: list[Window]) -> bool:
        """Whether the key is in one of these windows and moves with it."""
        key = f"k{number}.{self._generation[number]}".encode()
        for window in windows:
            if window.start <= key < window.end:
                old_home = placement.bucket_of(key, window.topology.bucket_count)
                if old_home == window.bucket_id != placement.bucket_of(key, window.topology.target_count):
                    return True
        return False

    async def operate(self, directory: DirectoryNode, kind: Kind, key: str) -> str:
        """One operation; ok, refused or unknown."""
        world, loop = self.world, self.world.loop
        self._number += 1
        number = self._number
        value = None
        if kind == "put":
            padding = world.rng.choice((0, 0, 0, 40, 900))
            value = f"{number}" + "." * padding
        called_s = loop.time()
        world.trace(f"{number} {kind} {key}")
        outcome, found = await self._ask(directory, kind, key, value)
        ended_s = loop.time()
        world.note(f"#{number} {kind} {key} by {directory.name} since {called_s:.4f}: {outcome} {_short(found)}")
        self.outcomes[outcome] += 1
        if outcome != "refused":
            self.events.append(Event(key, kind, value, found, called_s, math.inf if outcome == "unknown" else ended_s))
            if outcome == "unknown" and kind not in READS:
                self._unknown[key] += 1
        return outcome

    async def _ask(
        self, directory: DirectoryNode, kind: Kind, key: str, value: str | None
    ) -> tuple[str, str | bool | None]:
        world = self.world
        await asyncio.sleep(world.network.delay_s("client", directory.name))
        process = directory.process
        if process is None or directory.directory is None:
            return "refused", None  # nothing was sent
        answer: asyncio.Future[tuple[str, str | bool | None]] = world.loop.create_future()
        directory.open_requests[answer] = None
        task = world.loop.create_task(
            self._handle(directory, kind, key, value, answer), name=f"{kind} {key}", context=process.context.copy()
        )
        patience = world.rng.choice((4, 4, 4, 4, 4, 4, 4, 0.2))
        asked_s, slept_s = world.loop.time(), process.slept_s
        try:
            async with asyncio.timeout(world.plan.limits.request_timeout_s * patience):
                outcome = await answer
        except TimeoutError:
            awake_s = world.loop.time() - asked_s - (process.slept_s - slept_s)
            late_s = world.plan.limits.request_timeout_s + ANSWER_SLACK_S
            if process.alive and not process.asleep and awake_s > late_s:
                world.fail("answers", f"{kind} {key} is not answered after {awake_s:.3f} s by {directory.name}")
            task.cancel()  # as the HTTP server does when its client has gone
            outcome = ("unknown", None)
        except ConnectionResetError:
            outcome = ("unknown", None)
        finally:
            directory.open_requests.pop(answer, None)
        await asyncio.sleep(world.network.delay_s("client", directory.name))
        return outcome

    async def _handle(
        self, node: DirectoryNode, kind: Kind, key: str, value: str | None, answer: asyncio.Future[Any]
    ) -> None:
        """The request in the directory's process."""
        loop, directory, process = self.world.loop, node.directory, node.process
        assert directory is not None
        assert process is not None
        started_s = loop.time() - process.slept_s
        outcome: tuple[str, str | int | None]
        try:
            if kind == "put":
                assert value is not None
                outcome = "ok", not await put(directory, key.encode(), value.encode(), "text/plain")
            elif kind == "head":
                outcome = "ok", await described(directory, key.encode())
            else:
                found = await (get if kind == "get" else delete)(directory, key.encode())
                outcome = "ok", None if found is None else found.decode()
        except OutcomeUnknown:
            outcome = "unknown", None
            if kind in READS:
                self.world.fail("answers", f"a get of {key} has an unknown outcome")
            elif self.world.plan.trial in _NOTHING_BREAKS:
                self.world.fail("available", f"a {kind} of {key} has an unknown outcome, though nothing broke")
        except _REFUSED as error:
            self.world.trace(str(error))
            outcome = "refused", None
            if "did not answer in time" in str(error) and self.world.plan.trial in _NOTHING_BREAKS:
                self.world.fail("available", f"a {kind} of {key}, though nothing broke: {error}")
        took_s = loop.time() - process.slept_s - started_s
        if took_s > self.world.plan.limits.request_timeout_s + ANSWER_SLACK_S:
            self.world.fail("answers", f"{kind} {key} was answered after {took_s:.3f} s by {node.name}")
        if not answer.done():
            answer.set_result(outcome)

    async def write_everywhere(self) -> None:
        """Every bucket takes a write, and a delete, once nothing is wrong any more."""
        world = self.world
        for bucket_id in range(world.configured_count):
            key = _key_of(bucket_id, world.configured_count)
            for kind in ("put", "delete"):
                await self._until_ok(kind, key)

    async def _until_ok(self, kind: Kind, key: str) -> bool:
        for _ in range(20):
            if await self.operate(self.world.rng.choice(self.world.directories), kind, key) == "ok":
                return True
            await asyncio.sleep(0.5)
        self.world.fail("whole", f"no {kind} of {key} succeeds, though nothing is wrong any more")
        return False

    async def read_all(self) -> dict[str, str | None]:
        """Read every key once more, each until the store answers; what was found."""
        found: dict[str, str | None] = {}
        for key in sorted({event.key for event in self.events}):
            if await self._until_ok("get", key):
                seen = self.events[-1].found
                assert not isinstance(seen, int), "a get answers with the value"
                assert not isinstance(seen, bool)
                found[key] = seen
        return found

    def overlapping(self) -> int:
        """How many operations ran beside another one on their key."""
        overlap = 0
        ends: dict[str, float] = {}
        for event in sorted(self.events, key=lambda event: event.called_s):
            overlap += event.called_s < ends.get(event.key, -math.inf)
            if not event.unknown:
                ends[event.key] = max(ends.get(event.key, -math.inf), event.ended_s)
        return overlap


def _key_of(bucket_id: int, bucket_count: int) -> str:
    """A key whose home is the bucket."""
    numbers = itertools.count()
    return next(
        key for number in numbers if placement.bucket_of((key := f"end.{number}").encode(), bucket_count) == bucket_id
    )


def _short(found: str | int | None) -> str:
    return found.rstrip(".") if isinstance(found, str) else str(found)
