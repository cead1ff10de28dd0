"""Wall clocks that are set: now and then, and at the moments that matter, when a record has just expired."""

from __future__ import annotations

from collections.abc import Collection

from serve_app.storage import due
from tests.simulation.nodes import BucketNode
from tests.simulation.world import World

#: How often a clock is set back when a record has just expired, and when its deletion is being synced.
_WHEN_DUE_SHARE, _IN_SYNC_SHARE = 0.25, 0.15
_SOON_MS = 10_000


class ClockFaults:
    """See the module. It may be stopped."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stopped = False
        if "clock-steps" in world.plan.faults:
            world.on_due = self._due

    def step(self, bucket: BucketNode) -> None:
        """Back, mostly by about as long as records live, now and then by up to an hour; or a little forward."""
        rng = self.world.rng
        longest = rng.choice((-3000, -3000, -3_600_000, 5000))
        self._set(bucket, rng.randint(1, abs(longest)) * (1 if longest > 0 else -1))

    def in_sync(self, bucket: BucketNode, facts: Collection[bytes]) -> bool:
        """What is due is being deleted, perhaps: whether the clock is set back, so that a crash would show that."""
        world = self.world
        deletes = "clock-steps" in world.plan.faults and any(name.startswith(due.PREFIX) for name in facts)
        if self.stopped or not deletes or world.rng.random() > _IN_SYNC_SHARE:
            return False
        self._set(bucket, -world.rng.randint(1, 3000))
        return True

    def _due(self, bucket: BucketNode, at_ms: int) -> None:
        """A record is to expire: the clock may be set back shortly after that, while its deletion is under way."""
        world, rng = self.world, self.world.rng
        in_ms = at_ms - bucket.clock.now_ms()
        if 0 < in_ms < _SOON_MS and rng.random() < _WHEN_DUE_SHARE:
            world.after(in_ms / 1000 + rng.expovariate(rng.choice((20, 100))), self._set, bucket, -rng.randint(1, 3000))

    def _set(self, bucket: BucketNode, by_ms: int) -> None:
        if not self.stopped:
            self.world.met("clock-steps")
            self.world.note(f"the clock of {bucket.name} is set by {by_ms} ms")
            bucket.clock.step(by_ms)
