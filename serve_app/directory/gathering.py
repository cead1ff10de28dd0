"""Operations that came at the same time from clients that know nothing of each other, sent together.

A message costs a bucket and a directory more than an operation in it. So what has come by the next turn of the loop travels
in one message to each bucket, reads apart from writes, which wait for a sync; everybody is answered as soon as the buckets
have answered that theirs went to. While keys move nothing is gathered: one key in a window would have the others wait for
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from serve_app import events, placement
from serve_app.directory.batches import payload_of
from serve_app.directory.routed import Routed
from serve_app.directory.view import StoreView
from serve_app.errors import OutcomeUnknown, StoreError, Unavailable
from serve_app.operations import Operation

#: What one message holds: operations, and bytes of values.
_MOST, _MOST_BYTES = 500, 4 * 1024 * 1024
Operations = Sequence[Operation[Any]]
#: Messages to a bucket that are under way when others begin to wait for them, and for how long at most.
_UNDER_WAY, _PATIENCE_S = 1, 0.002
_MISTAKE = "the directory made a mistake; its log says more"


class Directory(Protocol):
    """What of the directory carries operations out."""

    view: StoreView

    async def carry_out(self, operation: Operation[Any], deadline_s: float = 0.0) -> Routed[Any]: ...

    async def answers_to_all(self, operations: Operations, home: int = -1) -> Sequence[Any]: ...


class Gathering:
    """See the module. On the directory's loop."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._bursts: list[_Burst] = []
        self._lanes: dict[tuple[int, bool, int], _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, operations: Operations, done: Callable[[list[Any]], None]) -> None:
        """Have them carried out, in order for each key. done: called with the answer of each, or the StoreError that stands
        for it; not before this has returned. One that tells a value comes alone."""
        if not self._bursts:
            asyncio.get_running_loop().call_soon(self._send)
        self._bursts.append(_Burst(operations, done))

    def _send(self) -> None:
        bursts, self._bursts = self._bursts, []
        topology = self._directory.view.topology
        if topology is None or topology.moving:
            for burst in bursts:
                self._begin(_Share.of(burst))
            return
        lanes: set[_Lane] = set()
        count = topology.bucket_count
        for burst in bursts:
            operations = burst.operations
            homes = placement.buckets_of([operation.key for operation in operations], count)
            if len(operations) == 1:
                (operation,) = operations
                if operation.tells_value:
                    self._begin(_Share.of(burst))
                    continue
                lane = self._lane(homes[0], operation.writes, operation.since)
                lane.waiting.add(burst, (0,), operations)
                lanes.add(lane)
                continue
            # A read behind a write in a burst has to see it. What a bucket of an earlier release does not know is refused
            # with all that is in its message.
            kinds: set[type[Operation[Any]]] = set(map(type, operations))
            writes, since = any(kind.writes for kind in kinds), max(kind.since for kind in kinds)
            for home in set(homes):
                lane = self._lane(home, writes, since)
                places = [place for place, its_home in enumerate(homes) if its_home == home]
                lane.waiting.add(burst, places, [operations[place] for place in places])
                lanes.add(lane)
        for lane in lanes:
            lane.go()

    def _lane(self, home: int, writes: bool, since: int) -> _Lane:
        lane = self._lanes.get((home, writes, since))
        if lane is None:
            lane = self._lanes[home, writes, since] = _Lane(home, self._begin)
        return lane

    def _begin(self, share: _Share, lane: _Lane | None = None) -> None:
        task = asyncio.get_running_loop().create_task(self._carry_out(share, lane))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, share: _Share, lane: _Lane | None) -> None:
        for part in share.parts():
            outcomes = await self._outcomes(part.operations, -1 if lane is None else lane.home)
            at = 0
            for burst, places in part.places:
                upto = at + len(places)
                try:
                    burst.take(places, outcomes[at:upto])
                except Exception as error:  # whoever asked; others wait for theirs
                    events.error("answer not taken", exc_info=error)
                at = upto
        if lane is not None:
            lane.came()

    async def _outcomes(self, operations: list[Operation[Any]], home: int) -> Sequence[Any]:
        directory = self._directory
        try:
            if len(operations) == 1:
                return [(await directory.carry_out(operations[0])).answer]
            topology = directory.view.topology
            if topology is None or topology.moving or home >= topology.bucket_count:
                home = -1  # since it was looked up
            return await directory.answers_to_all(operations, home=home)
        except StoreError as error:
            return [error] * len(operations)
        except Exception as error:
            events.error("routing failed", exc_info=error)
            return [OutcomeUnknown(_MISTAKE) if each.writes else Unavailable(_MISTAKE) for each in operations]


class _Lane:
    """What goes to one bucket. A few messages are under way at once: what comes meanwhile gathers, as writes do at a sync,
    but for no longer than `_PATIENCE_S`, for some messages take long."""

    __slots__ = ("_begin", "_timer", "_under_way", "home", "waiting")

    def __init__(self, home: int, begin: Callable[[_Share, _Lane], None]) -> None:
        self.home, self._begin = home, begin
        self.waiting = _Share()
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None

    def go(self) -> None:
        """Send what waits, unless that is to gather."""
        if self._under_way < _UNDER_WAY:
            self._send()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PATIENCE_S, self._send)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        share, self.waiting = self.waiting, _Share()
        self._under_way += 1
        self._begin(share, self)

    def came(self) -> None:
        """A message was answered."""
        self._under_way -= 1
        if self.waiting.operations and self._under_way < _UNDER_WAY:
            self._send()


class _Burst:
    """What one client has sent, and what is known of it."""

    __slots__ = ("_done", "_left", "_outcomes", "operations")

    def __init__(self, operations: Operations, done: Callable[[list[Any]], None]) -> None:
        self.operations, self._done = operations, done
        self._outcomes: list[Any] = [None] * len(operations)
        self._left = len(operations)

    def take(self, places: Sequence[int], outcomes: Sequence[Any]) -> None:
        """Those of the operations at these places."""
        if len(places) == len(self._outcomes):
            self._outcomes[:] = outcomes
        else:
            for place, outcome in zip(places, outcomes, strict=True):
                self._outcomes[place] = outcome
        self._left -= len(places)
        if not self._left:
            self._done(self._outcomes)


class _Share:
    """Operations that go one way, and whose they are: `places` has them in the same order."""

    __slots__ = ("operations", "places")

    def __init__(self) -> None:
        self.operations: list[Operation[Any]] = []
        self.places: list[tuple[_Burst, Sequence[int]]] = []

    @classmethod
    def of(cls, burst: _Burst) -> _Share:
        """All that one client has sent."""
        share = cls()
        share.add(burst, range(len(burst.operations)), burst.operations)
        return share

    def add(self, burst: _Burst, places: Sequence[int], operations: Operations) -> None:
        """operations: those at these places of a burst."""
        self.operations += operations
        self.places.append((burst, places))

    def parts(self) -> list[_Share]:
        """As many together as a message holds."""
        if len(self.operations) <= _MOST and payload_of(self.operations) <= _MOST_BYTES:
            return [self]
        parts = [_Share()]
        size = 0
        for burst, places in self.places:
            for place in places:
                operation = burst.operations[place]
                payload = operation.payload_bytes
                part = parts[-1]
                if part.operations and (len(part.operations) >= _MOST or size + payload > _MOST_BYTES):
                    parts.append(part := _Share())
                    size = 0
                part.add(burst, (place,), (operation,))
                size += payload
        return parts
