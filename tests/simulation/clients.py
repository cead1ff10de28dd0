"""Clients at work on few keys through several directories, and the history of what they saw.

Most operations overlap with another on their key, or the check of the history would prove little. A key that has had too many
operations of unknown fate makes way for a fresh one, for the same reason.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from serve_app import placement
from serve_app.directory.routed import Routed
from serve_app.errors import DiskFull, OutcomeUnknown, StoreError, Unavailable
from tests.simulation.asked import Asked, events_of, meaning
from tests.simulation.drawing import COUNTERS, STILL, Drawing
from tests.simulation.nodes import DirectoryNode
from tests.simulation.world import Window, World
from tests.support.linearizability import READS, Event, Kind

#: A directory answers this long after the deadline at the latest, not counting the time it slept.
ANSWER_SLACK_S = 0.3
_MAX_UNKNOWN_PER_KEY = 4
#: How long a burst waits for a move to begin.
_MOVE_BEGINS_S = 3.0
_WINDOW_BEGINS_S = 0.3
_REFUSED = (Unavailable, DiskFull)
#: What came of an operation that has no answer.
REFUSED, UNKNOWN = "refused", "unknown"
#: How often a request that may be repeated is sent again.
_TRIES = 8
#: How many of those that were answered come once more, as what went astray does.
_ASTRAY_SHARE = 0.25
#: Keys with numbers, and keys that nobody writes again: lists must have them.
_COUNTERS, _STILL = 2, 3
_COUNTER_SHARE = 0.12
#: How many of the operations are on records that expire about now, where there are some.
_EXPIRING_SHARE = 0.4
#: Trials (trials.py) in which every operation that was sent is answered.
_NOTHING_BREAKS = ("full-source", "full-target", "quick-changes")


class Clients:
    """The workload of a run. `events` is its history."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[Event] = []
        self.outcomes: Counter[str] = Counter()
        #: Keys in use: the hot ones first. A number tells a key from those it followed.
        self._letters = "k" * (world.plan.hot_keys + world.plan.cold_keys) + COUNTERS * _COUNTERS + STILL * _STILL
        self._generation = [0] * len(self._letters)
        self._draw = Drawing(world.rng, world.plan, lambda: self._number, world.loop.time)
        #: Those that are not left alone once they are there.
        self._drawn = [number for number, letter in enumerate(self._letters) if letter != STILL]
        self._unknown: Counter[str] = Counter()
        self._number = 0
        self._bursts: list[asyncio.Task[None]] = []
        self._astray: list[asyncio.Task[None]] = []
        #: Set when the burst of that number begins, or would have.
        self.begun = [asyncio.Event() for _ in world.plan.bursts_s]

    async def work(self) -> None:
        """Run all clients to their end."""
        self._bursts = [asyncio.create_task(self._begin(number)) for number in range(len(self.begun))]
        letters, rng, share = self._letters, self.world.rng, self.world.plan.first_keys
        first = [number for number, letter in enumerate(letters) if letter == STILL or rng.random() < share]
        await asyncio.gather(
            *(self.operate(self.world.rng.choice(self.world.directories), "put", self._key(number)) for number in first)
        )
        await asyncio.gather(*(self._client() for _ in range(self.world.plan.client_count)))
        await asyncio.gather(*self._astray)

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
                await self.carry_out(directory, self._draw.some(self._draw_key))

    def _draw_key(self) -> str:
        plan, rng = self.world.plan, self.world.rng
        if plan.follows_moves and rng.random() < plan.follows_moves:
            windows = list(self.world.last_windows)
            for some in (windows[-1:], windows) if rng.random() < 0.6 else (windows,):
                moving = [number for number in self._drawn if self._moves(number, some)]
                if moving:
                    return self._key(rng.choice(moving))
        expiring = self._draw.expiring()
        if expiring and rng.random() < _EXPIRING_SHARE:
            return rng.choice(expiring)
        if rng.random() < _COUNTER_SHARE:
            return self._key(plan.hot_keys + plan.cold_keys + rng.randrange(_COUNTERS))
        cold = plan.cold_keys > 0 and rng.random() < 0.2
        number = plan.hot_keys + rng.randrange(plan.cold_keys) if cold else rng.randrange(plan.hot_keys)
        return self._key(number)

    def _key(self, number: int) -> str:
        key = self._name(number)
        if self._unknown[key] >= _MAX_UNKNOWN_PER_KEY:
            self._generation[number] += 1
            key = self._name(number)
        return key

    def _name(self, number: int) -> str:
        return f"{self._letters[number]}{number}.{self._generation[number]}"

    def _moves(self, number: int, windows: list[Window]) -> bool:
        """Whether the key is in one of these windows and moves with it."""
        key = self._name(number).encode()
        for window in windows:
            if window.start <= key < window.end:
                old_home = placement.bucket_of(key, window.topology.bucket_count)
                if old_home == window.bucket_id != placement.bucket_of(key, window.topology.target_count):
                    return True
        return False

    async def operate(self, directory: DirectoryNode, kind: Kind, key: str) -> str:
        """One plain operation; ok, refused or unknown."""
        return await self.carry_out(directory, [self._draw.plain(kind, key)])

    async def carry_out(self, directory: DirectoryNode, batch: list[Asked]) -> str:
        """One operation or several at once, each until it is known what came of it where it may be sent again. What came of
        the first: ok, refused or unknown."""
        world, loop = self.world, self.world.loop
        self._number += 1
        number, called_s = self._number, loop.time()
        world.trace(f"{number} {'; '.join(map(str, batch))}")
        answers = await self._ask(directory, batch)
        ended_s = loop.time()
        settled: list[tuple[Asked, Any]] = []
        for asked, answer in zip(batch, answers, strict=True):
            world.note(f"#{number} {asked} by {directory.name} since {called_s:.4f}: {_short(answer)}")
            self.outcomes["unknown" if answer is UNKNOWN else "refused" if answer is REFUSED else "ok"] += 1
            if answer is UNKNOWN and asked.named:
                await self._repeat(number, asked, called_s)
            elif answer is not REFUSED:
                settled.append((asked, None if answer is UNKNOWN else answer))
                if asked.named and world.rng.random() < _ASTRAY_SHARE:
                    self._astray.append(loop.create_task(self._come_once_more(number, asked, answer)))
        for event in events_of(settled, called_s, ended_s):
            self._happened(event)
        return "unknown" if answers[0] is UNKNOWN else "refused" if answers[0] is REFUSED else "ok"

    async def _repeat(self, number: int, asked: Asked, called_s: float) -> None:
        """Send the very same request again until it is known what came of it: it has happened once, if at all."""
        world, answer = self.world, UNKNOWN
        for _ in range(_TRIES):
            await asyncio.sleep(world.rng.expovariate(10))
            directory = world.rng.choice(world.directories)
            (answer,) = await self._ask(directory, [asked])
            world.note(f"#{number} {asked} again by {directory.name}: {_short(answer)}")
            if answer not in (UNKNOWN, REFUSED):
                break
        known = answer not in (UNKNOWN, REFUSED)
        world.counts["requests repeated"] += 1
        world.counts["requests repeated until answered"] += known
        if known and any(called_s <= lost.at_s for lost in world.lost_volumes):
            # What came of it may be lost with a volume, and is not known any more: it may have happened before, too.
            self._happened(asked.event(None, called_s, world.loop.time()))
        self._happened(asked.event(answer if known else None, called_s, world.loop.time()))

    async def _come_once_more(self, number: int, asked: Asked, first: Any) -> None:
        """A request that was answered comes again, late: it is answered as before, and is no other operation."""
        world = self.world
        await asyncio.sleep(world.rng.expovariate(world.rng.choice((1, 10))))
        if world.plan.losses:
            return  # what came of it may be lost with a volume: then it is carried out once more
        (answer,) = await self._ask(world.rng.choice(world.directories), [asked])
        world.note(f"#{number} {asked} once more: {_short(answer)}")
        world.counts["requests that came once more"] += 1
        known = answer not in (UNKNOWN, REFUSED)
        if known and meaning(asked.kind, answer) != meaning(asked.kind, first):
            world.fail("repeats", f"{asked} was answered with {_short(first)}, and then with {_short(answer)}")

    def _happened(self, event: Event) -> None:
        self.events.append(event)
        for each in event.parts or (event,):
            if each.unknown and each.kind not in READS:
                self._unknown[each.key] += 1
            self._draw.seen(each)

    async def _ask(self, directory: DirectoryNode, batch: list[Asked]) -> list[Any]:
        """The answers, `REFUSED` or `UNKNOWN`."""
        world = self.world
        await asyncio.sleep(world.network.delay_s("client", directory.name))
        process = directory.process
        if process is None or directory.directory is None:
            return [REFUSED] * len(batch)  # nothing was sent
        answer: asyncio.Future[list[Any]] = world.loop.create_future()
        directory.open_requests[answer] = None
        what = "; ".join(map(str, batch))
        task = world.loop.create_task(
            self._handle(directory, batch, what, answer), name=what, context=process.context.copy()
        )
        patience = world.rng.choice((4, 4, 4, 4, 4, 4, 4, 0.2))
        asked_s, slept_s = world.loop.time(), process.slept_s
        answers: list[Any] = [UNKNOWN] * len(batch)
        try:
            async with asyncio.timeout(world.plan.limits.request_timeout_s * patience):
                answers = await answer
        except TimeoutError:
            awake_s = world.loop.time() - asked_s - (process.slept_s - slept_s)
            late_s = world.plan.limits.request_timeout_s + ANSWER_SLACK_S
            if process.alive and not process.asleep and awake_s > late_s:
                world.fail("answers", f"{what} is not answered after {awake_s:.3f} s by {directory.name}")
            task.cancel()  # as the HTTP server does when its client has gone
        except ConnectionResetError:
            pass
        finally:
            directory.open_requests.pop(answer, None)
        await asyncio.sleep(world.network.delay_s("client", directory.name))
        return answers

    async def _handle(
        self, node: DirectoryNode, batch: list[Asked], what: str, answer: asyncio.Future[list[Any]]
    ) -> None:
        """The request in the directory's process."""
        loop, directory, process = self.world.loop, node.directory, node.process
        assert directory is not None
        assert process is not None
        started_s = loop.time() - process.slept_s
        outcomes: Sequence[Routed[Any] | StoreError]
        try:
            if len(batch) > 1:
                outcomes = await directory.carry_out_all([asked.operation(batched=True) for asked in batch])
            else:
                outcomes = [await directory.carry_out(batch[0].operation())]
        except (OutcomeUnknown, *_REFUSED) as error:
            outcomes = [error] * len(batch)
        answers = [self._told(asked, outcome) for asked, outcome in zip(batch, outcomes, strict=True)]
        took_s = loop.time() - process.slept_s - started_s
        if took_s > self.world.plan.limits.request_timeout_s + ANSWER_SLACK_S:
            self.world.fail("answers", f"{what} was answered after {took_s:.3f} s by {node.name}")
        if not answer.done():
            answer.set_result(answers)

    def _told(self, asked: Asked, outcome: Routed[Any] | StoreError) -> Any:
        world = self.world
        if not isinstance(outcome, StoreError):
            return outcome.answer
        if isinstance(outcome, OutcomeUnknown):
            if not asked.writes:
                world.fail("answers", f"a {asked.kind} of {asked.key} has an unknown outcome")
            elif world.plan.trial in _NOTHING_BREAKS:
                world.fail("available", f"{asked} has an unknown outcome, though nothing broke")
            return UNKNOWN
        if not isinstance(outcome, _REFUSED):
            world.fail("answers", f"{asked} is answered with {outcome!r}")
        world.trace(str(outcome))
        if "did not answer in time" in str(outcome) and world.plan.trial in _NOTHING_BREAKS:
            world.fail("available", f"{asked}, though nothing broke: {outcome}")
        return REFUSED

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
        """Read every key once more, each until the store answers; what was found. From here on nothing expires."""
        found: dict[str, str | None] = {}
        for key in sorted({event.key for event in self.events}):
            if self._draw.may_vanish(key):
                await self._until_ok("touch", key)
            if await self._until_ok("get", key):
                seen = self.events[-1].found
                assert not isinstance(seen, int), "a get answers with the value"
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


def _short(answer: Any) -> str:
    return f"{answer!r:.60}" if not isinstance(answer, str) else answer
