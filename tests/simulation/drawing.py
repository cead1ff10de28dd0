"""What a client asks for next, drawn from the run's seed: every kind of request, by the revisions that clients have seen."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.simulation.asked import Asked
from tests.simulation.plan import Plan
from tests.support.linearizability import ANY, Event, Kind

#: What the names of keys begin with that hold numbers, and of those that are written once.
COUNTERS, STILL = "n", "s"
_TTLS_MS = (30, 100, 300, 1000, 3000)
#: For so long what has expired is looked at most.
_LOOKED_AT_S = 0.2
#: Of the requests, how many hold several operations; of the writes, how many may be sent again.
_BATCH_SHARE = 0.1
_NAMED_SHARE = 0.35
#: Of the clients' reads one in this many asks for no more than what the value is like.
_HEAD_EVERY = 7
#: And of the writes that may be sent again one in so many says for how long it is remembered: for longer than a client goes
#: on sending it, and than clocks are set forward meanwhile.
_REMEMBERED_EVERY, _REMEMBERED_MS = 3, 120_000


class Drawing:
    """See the module."""

    def __init__(self, rng: random.Random, plan: Plan, number: Callable[[], int], now_s: Callable[[], float]) -> None:
        """number: of the request, which no other has. now_s: of the simulation."""
        self._rng, self._plan, self._number, self._now_s = rng, plan, number, now_s
        #: When records expire, about.
        self._due_s: dict[str, float] = {}
        #: The revisions that clients have seen of each key, the last ones.
        self._seen: dict[str, list[int]] = {}
        self._may_vanish: set[str] = set()
        self._values = 0

    def seen(self, event: Event) -> None:
        """A client knows what came of a request."""
        if event.revision:
            self._seen.setdefault(event.key, []).append(event.revision)
        if event.mortal:
            self._may_vanish.add(event.key)

    def may_vanish(self, key: str) -> bool:
        """Whether a record of that key may expire."""
        return key in self._may_vanish

    def expiring(self) -> list[str]:
        """Keys whose records expire about now."""
        now_s = self._now_s()
        return [key for key, due_s in self._due_s.items() if -_LOOKED_AT_S < due_s - now_s < _LOOKED_AT_S / 4]

    def plain(self, kind: Kind, key: str) -> Asked:
        """Without a condition and all else."""
        return Asked(kind, key, self._value(kind, key))

    def some(self, draw_key: Callable[[], str]) -> list[Asked]:
        """One operation, or several of one batch: some of them on the same key."""
        rng = self._rng
        if rng.random() >= _BATCH_SHARE:
            return [self._one(draw_key())]
        keys = [draw_key() for _ in range(rng.randint(1, 3))]
        reads = rng.random() < 0.3
        return [self._one(rng.choice(keys), reads) for _ in range(rng.randint(2, 5))]

    def _one(self, key: str, reads: bool = False) -> Asked:
        rng, plan = self._rng, self._plan
        looks = key in self._due_s and abs(self._due_s[key] - self._now_s()) < _LOOKED_AT_S and rng.random() < 0.8
        kind = "get" if reads or looks else self._kind(key)
        if kind == "get" and self._number() % _HEAD_EVERY == 0:
            kind = "head"
        if_match = if_none_match = ttl_ms = 0
        drawn, seen = rng.random(), self._seen.get(key)
        # Mostly the last: what is older is hardly ever met.
        revision = 0 if not seen else seen[-1] if rng.random() < 0.8 else rng.choice(seen[-4:])
        if kind in ("get", "head"):
            if drawn < 0.15:
                if_none_match = revision
        elif drawn < 0.25:
            if_match = revision or (ANY if drawn < 0.05 else 0)
        elif drawn < 0.4 and kind == "put":
            if_none_match = ANY
        if kind in ("put", "swap", "touch", "increment") and rng.random() < plan.mortal_share:
            ttl_ms = rng.choice(_TTLS_MS)
            self._due_s[key] = self._now_s() + ttl_ms / 1000
        named, remember_ms = "", 0
        if kind not in ("get", "head") and rng.random() < _NAMED_SHARE:
            self._values += 1
            named = f"request-{self._values}"
            remember_ms = 0 if self._values % _REMEMBERED_EVERY else _REMEMBERED_MS
        return Asked(kind, key, self._value(kind, key), if_match, if_none_match, ttl_ms, named, remember_ms)

    def _kind(self, key: str) -> Kind:
        drawn = self._rng.random() - self._plan.puts
        if drawn < 0:
            if drawn > -self._plan.puts / 8:
                return "touch"
            if key.startswith(COUNTERS):
                return "increment" if drawn > -self._plan.puts * 0.9 else "put"
            return "append" if drawn < -self._plan.puts * 0.9 else "swap" if drawn < -self._plan.puts * 0.8 else "put"
        return "delete" if drawn < self._plan.deletes else "get"

    def _value(self, kind: Kind, key: str) -> str | None:
        rng = self._rng
        if kind == "increment":
            return str(rng.choice((1, 1, 5, -3)))
        if kind not in ("put", "swap", "append"):
            return None
        self._values += 1
        if kind == "append":
            return f"+{self._values}"
        if key.startswith(COUNTERS):
            return str(1000 * self._values)
        return f"{self._values}" + "." * rng.choice((0, 0, 0, 40, 900))
