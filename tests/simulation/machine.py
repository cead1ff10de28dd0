"""The simulated machine under a bucket: its clocks, ids, writer and reading threads, as `bucket.platform.Platform`.

The writer is the product's own, driven by timers instead of a thread: a group is taken and decided, its sync takes a
while, then it is durable and visible, and only some time after that does the bucket's loop hear of it. A crash in the middle
of a sync leaves the group whole or not at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from serve_app.bucket.platform import Platform
from serve_app.errors import StorageDamaged
from serve_app.storage.committer import Committer
from serve_app.storage.engine import EngineFailed
from serve_app.storage.group import Group, Write
from serve_app.storage.writer import Writer
from tests.simulation.clocks import WallClock
from tests.simulation.disk import SimulatedDisk
from tests.simulation.loop import SimulatedLoop
from tests.simulation.threads import SteppedThread


@dataclass
class Speed:
    """How long the machine's parts take; a run draws its own."""

    sync_s: float = 0.002
    slow_sync_share: float = 0.02
    slow_sync_s: float = 0.5
    read_s: float = 0.001
    #: How often, and for how long, a reading thread is held up: before it reads, between that and what it makes of it, or
    #: before the loop hears of that.
    stalled_read_share: float = 0.0
    stalled_read_s: float = 1.0
    #: Whether that befalls the scans of movers too.
    scans_stall: bool = True
    #: Between a thread and the loop.
    wake_s: float = 0.0002
    #: How often a reading thread stands still before a look at what it shares with others.
    preempted_share: float = 0.0


class Machine:
    """What one process of a bucket runs on."""

    def __init__(
        self, loop: SimulatedLoop, rng: random.Random, disk: SimulatedDisk, speed: Speed, clock: WallClock
    ) -> None:
        self.loop, self.rng, self.disk, self.speed, self.clock = loop, rng, disk, speed, clock
        #: The process is slow: everything takes this many times as long.
        self.slowness = 1.0
        self.writer: SimulatedWriter | None = None
        #: What happens at some instant within a later sync: how many syncs from now, and what.
        self.in_sync: tuple[int, Callable[[], None]] | None = None
        #: Gets the names of the facts that a sync which begins is to make durable.
        self.on_facts: Callable[[Collection[bytes]], None] = lambda names: None

    def platform(self) -> Platform:
        """What the bucket's server takes."""
        return Platform(
            monotonic_s=self.loop.time,
            now_ms=self.clock.now_ms,
            new_id=lambda size_bytes: f"{self.rng.getrandbits(8 * size_bytes):0{2 * size_bytes}x}",
            writer=self._make_writer,
            readers=lambda: SimulatedReaders(self),
        )

    def _make_writer(self, committer: Committer, **options: Any) -> Writer:
        self.writer = SimulatedWriter(self, committer, **options)
        return self.writer

    def power_off(self) -> None:
        """The process ends: a group whose sync was under way is on the disk, or it is not."""
        writer = self.writer
        if writer is not None and writer.syncing is not None and self.rng.random() < 0.5:
            with suppress(EngineFailed, StorageDamaged):  # the disk may fail in that very moment
                writer.syncing.write()
        self.disk.settle()

    def after(self, seconds: float, callback: Callable[..., None], *args: Any) -> None:
        self.loop.call_later(seconds * self.slowness, callback, *args)

    def wake_s(self) -> float:
        return self.rng.random() * 2 * self.speed.wake_s

    def read_s(self, what: str) -> float:
        speed, rng = self.speed, self.rng
        stalls = (what == "get" or speed.scans_stall) and rng.random() < speed.stalled_read_share
        return rng.random() * (speed.stalled_read_s if stalls else speed.read_s)

    def handover_s(self) -> float:
        """Between a reading thread and the loop. Those of the writer are its own: they keep their order."""
        speed, rng = self.speed, self.rng
        stalls = speed.scans_stall and rng.random() < speed.stalled_read_share
        stalled_s = rng.random() * speed.stalled_read_s if stalls else 0.0
        return (self.wake_s() + stalled_s) * self.slowness

    def sync_s(self) -> float:
        speed, rng = self.speed, self.rng
        return rng.random() * (speed.slow_sync_s if rng.random() < speed.slow_sync_share else 2 * speed.sync_s)


class SimulatedWriter(Writer):
    """See the module."""

    def __init__(self, machine: Machine, committer: Committer, **options: Any) -> None:
        super().__init__(committer, **options)
        self._machine = machine
        self._busy = True  # until `start`
        self._heard_s = 0.0
        #: The group whose sync is under way.
        self.syncing: Group | None = None

    def start(self) -> None:
        self._busy = False
        self._go_on()

    def submit(self, writes: list[Write]) -> None:
        self._backlog.extend(writes)
        self._go_on()

    def stop(self) -> None:
        """Commit at once: in the simulation, whoever stops a bucket does not look at the time."""
        while self._backlog:
            group = self._decide_next()
            self._group_done(group.writes, self._committer.write(group))
        self._busy = True

    def _go_on(self) -> None:
        if self._backlog and not self._busy:
            self._busy = True
            self._machine.after(self._machine.wake_s(), self._take)

    def _take(self) -> None:
        try:
            group = self._decide_next()
        except BaseException as error:
            self._fail(error)
            return
        self.syncing = group
        machine = self._machine
        if group._facts or group._storage_facts:
            machine.on_facts([*group._facts, *group._storage_facts])
        sync_s = machine.sync_s()
        machine.after(sync_s, self._synced, group)
        if machine.in_sync is not None:
            to_come, happening = machine.in_sync
            if to_come == 0:
                machine.after(sync_s * machine.rng.random(), happening)
            machine.in_sync = (to_come - 1, happening) if to_come else None

    def _synced(self, group: Group) -> None:
        self.syncing = None
        try:
            commit = self._committer.write(group)
        except BaseException as error:
            self._fail(error)
            return
        machine = self._machine
        # The loop hears of groups in their order; the next one does not wait for that.
        self._heard_s = max(self._heard_s, machine.loop.time() + machine.wake_s() * machine.slowness)
        machine.loop.handover_s = lambda: self._heard_s - machine.loop.time()
        try:
            self._group_done(group.writes, commit)
        finally:
            machine.loop.handover_s = None
        self._busy = False
        self._go_on()


class SimulatedReaders(Executor):
    """Reading threads. Each stands still for a while before it begins, before it reads, and between that and what it makes of
    it; and the loop hears of that still later. What a read finds is as of the instant at which it reads."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        machine = self._machine
        thread = machine.loop.thread(lambda: fn(*args, **kwargs))
        machine.after(machine.wake_s(), self._step, thread)
        return Future()

    def _step(self, thread: SteppedThread) -> None:
        machine = self._machine
        stands_at = ""

        def stand_still(what: str) -> None:
            nonlocal stands_at
            if what == "look" and machine.rng.random() >= machine.speed.preempted_share:
                return  # most of the time nothing comes in between
            stands_at = what
            thread.stand_still()

        machine.disk.stand_still = stand_still
        machine.loop.handover_s = machine.handover_s
        try:
            thread.step()
        finally:
            machine.disk.stand_still = machine.loop.handover_s = None
        if not thread.ended:
            machine.after(machine.read_s(stands_at), self._step, thread)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass
