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
from serve_app.directory.batches import Outcome
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

    async def carry_out_all(self, operations: Operations, deadline_s: float = 0.0, home: int = -1) -> list[Outcome]: ...


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
                self._begin(burst.places())
            return
        lanes: set[_Lane] = set()
        count, stable_hash = topology.bucket_count, placement.stable_hash
        for burst in bursts:
            operations = burst.operations
            if len(operations) == 1:
                (operation,) = operations
                writes, since = operation.writes, operation.since
                if operation.tells_value:
                    self._begin(burst.places())
                    continue
            else:
                # A read behind a write in a burst has to see it. What a bucket of an earlier release does not know is
                # refused with all that is in its message.
                writes = any(operation.writes for operation in operations)
                since = max(operation.since for operation in operations)
            for place, operation in enumerate(operations):
                home = stable_hash(operation.key) % count
                lane = self._lanes.get((home, writes, since))
                if lane is None:
                    lane = self._lanes[home, writes, since] = _Lane(home, self._begin)
                lane.waiting.append((burst, place))
                lanes.add(lane)
        for lane in lanes:
            lane.go()

    def _begin(self, share: list[_Place], lane: _Lane | None = None) -> None:
        task = asyncio.get_running_loop().create_task(self._carry_out(share, lane))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, share: list[_Place], lane: _Lane | None) -> None:
        for part in _parts(share):
            operations = [burst.operations[place] for burst, place in part]
            outcomes = await self._outcomes(operations, -1 if lane is None else lane.home)
            for (burst, place), outcome in zip(part, outcomes, strict=True):
                try:
                    burst.take(place, outcome)
                except Exception as error:  # whoever asked; others wait for theirs
                    events.error("answer not taken", exc_info=error)
        if lane is not None:
            lane.came()

    async def _outcomes(self, operations: list[Operation[Any]], home: int) -> list[Any]:
        directory = self._directory
        try:
            if len(operations) == 1:
                return [(await directory.carry_out(operations[0])).answer]
            topology = directory.view.topology
            if topology is None or topology.moving or home >= topology.bucket_count:
                home = -1  # since it was looked up
            came = await directory.carry_out_all(operations, home=home)
            return [each if isinstance(each, StoreError) else each.answer for each in came]
        except StoreError as error:
            return [error] * len(operations)
        except Exception as error:
            events.error("routing failed", exc_info=error)
            return [OutcomeUnknown(_MISTAKE) if each.writes else Unavailable(_MISTAKE) for each in operations]


class _Lane:
    """What goes to one bucket. A few messages are under way at once: what comes meanwhile gathers, as writes do at a sync,
    but for no longer than `_PATIENCE_S`, for some messages take long."""

    __slots__ = ("_begin", "_timer", "_under_way", "home", "waiting")

    def __init__(self, home: int, begin: Callable[[list[_Place], _Lane], None]) -> None:
        self.home, self._begin = home, begin
        self.waiting: list[_Place] = []
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
        share, self.waiting = self.waiting, []
        self._under_way += 1
        self._begin(share, self)

    def came(self) -> None:
        """A message was answered."""
        self._under_way -= 1
        if self.waiting and self._under_way < _UNDER_WAY:
            self._send()


class _Burst:
    """What one client has sent, and what is known of it."""

    __slots__ = ("_done", "_left", "_outcomes", "operations")

    def __init__(self, operations: Operations, done: Callable[[list[Any]], None]) -> None:
        self.operations, self._done = operations, done
        self._outcomes: list[Any] = [None] * len(operations)
        self._left = len(operations)

    def places(self) -> list[_Place]:
        """Those of all its operations."""
        return [(self, place) for place in range(len(self.operations))]

    def take(self, place: int, outcome: Any) -> None:
        self._outcomes[place] = outcome
        self._left -= 1
        if not self._left:
            self._done(self._outcomes)


_Place = tuple[_Burst, int]


def _parts(share: list[_Place]) -> list[list[_Place]]:
    """As many together as a message holds."""
    if len(share) == 1:
        return [share]
    parts: list[list[_Place]] = [[]]
    size = 0
    for burst, place in share:
        payload = burst.operations[place].payload_bytes
        if parts[-1] and (len(parts[-1]) >= _MOST or size + payload > _MOST_BYTES):
            parts.append([])
            size = 0
        parts[-1].append((burst, place))
        size += payload
    return parts
