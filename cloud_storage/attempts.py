"""When a request is sent again, and when that has an end.

Safe by construction: what has surely not been sent, what the store refused for now, and what may be repeated is sent again
until the one deadline of the call; nothing else ever is. Pauses grow and are drawn at random ("full jitter": Brooker,
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015), and all calls of one client share a budget, so that many who
fail together do not add to what is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from cloud_storage import answers
from cloud_storage.errors import OutcomeUnknown, StoreError, Unavailable
from cloud_storage.exchange import Request, Response

#: A request that was sent may take so long to be carried out: by proxies, and by a store that is busy.
LONGEST_ON_ITS_WAY_S = 60.0
#: A store remembers idempotency keys for 10 minutes: nothing is sent again after this.
LONGEST_TIMEOUT_S = 600.0 - LONGEST_ON_ITS_WAY_S
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0


def check_timeout(timeout_s: float) -> None:
    """Raises ValueError: it is not between 0 and 540 s, for as long as a store remembers requests."""
    if not 0 < timeout_s <= LONGEST_TIMEOUT_S:
        raise ValueError(f"a timeout is more than 0 and at most {LONGEST_TIMEOUT_S:g} s, not {timeout_s!r}")


class Budget:
    """How many requests a client sends again: `burst` at once, `per_second` for long, and one for ten that succeed."""

    def __init__(
        self, burst: float = 100.0, per_second: float = 20.0, on_retry: Callable[[str], None] | None = None
    ) -> None:
        """on_retry: is told why, before each request that is sent again."""
        self._burst, self._per_second = burst, per_second
        self._on_retry = on_retry
        self._left, self._at_s = burst, 0.0

    def earn(self) -> None:
        """A request was answered."""
        self._left = min(self._burst, self._left + 0.1)

    def tell(self, why: str) -> None:
        """A request will be sent again."""
        if self._on_retry is not None:
            self._on_retry(why)

    def wait_s(self, now_s: float) -> float:
        """How long to wait before one may be taken."""
        self._left = min(self._burst, self._left + max(0.0, now_s - self._at_s) * self._per_second)
        self._at_s = now_s
        return max(0.0, (1.0 - self._left) / self._per_second)

    def take(self) -> None:
        """One will be sent again. Who gives up takes none: thousands that give up together leave no debt behind."""
        self._left -= 1.0


class Attempts:
    """Those of one call. Each that has failed is told with `broken`, `answered` says whether a response is the end."""

    def __init__(
        self, request: Request, deadline_s: float, budget: Budget, draw: Callable[[], float] = random.random
    ) -> None:
        """deadline_s: on the clock whose time the methods get."""
        self._request, self._deadline_s, self._budget, self._draw = request, deadline_s, budget, draw
        self._pause_s = _FIRST_PAUSE_S
        #: Whether a write may have happened.
        self._unknown = False

    def left_s(self, now_s: float) -> float:
        """The time that is left. Raises Unavailable, OutcomeUnknown: none is."""
        left_s = self._deadline_s - now_s
        if left_s <= 0:
            raise self._late("there was no time left")
        return left_s

    def not_sent(self, why: str, now_s: float) -> float:
        """The request can't have reached the store. How long to pause. Raises Unavailable, OutcomeUnknown."""
        return self._next_s(why, now_s)

    def broken(self, why: str, now_s: float) -> float:
        """There was no answer, or none of the store's. How long to pause. Raises Unavailable, OutcomeUnknown."""
        self._unknown = self._unknown or self._request.writes
        if not self._request.repeatable:
            raise self._late(why)
        return self._next_s(why, now_s)

    def answered(self, response: Response, now_s: float) -> float | None:
        """None: that is what came of the request. Else how long to pause. Raises Unavailable, OutcomeUnknown."""
        problem = answers.problem_of(response)
        if problem is None:
            if answers.is_own(response):
                self._budget.earn()
                return None
            return self.broken(f"something that is not the store answered with status {response.status}", now_s)
        kind = answers.kind_of(problem)
        if kind not in answers.AGAIN:
            self._budget.earn()
            return None
        detail = str(problem.get("detail", kind))
        if kind == answers.UNKNOWN:
            return self.broken(detail, now_s)
        return self._next_s(detail, now_s, _retry_after_s(response) * (0.5 + self._draw() / 2))

    def _next_s(self, why: str, now_s: float, least_s: float = 0.0) -> float:
        pause_s = max(self._pause_s * self._draw(), least_s) + self._budget.wait_s(now_s)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        if now_s + pause_s >= self._deadline_s:
            raise self._late(why)
        self._budget.take()
        self._budget.tell(why)
        return pause_s

    def _late(self, why: str) -> StoreError:
        what = f"{self._request.method} {self._request.target.partition('?')[0]}".rstrip()
        if self._unknown:
            return OutcomeUnknown(f"{what} may have happened, and there was no answer in time: {why}")
        return Unavailable(f"{what} was not answered in time: {why}")


def _retry_after_s(response: Response) -> float:
    after = response.headers.get("retry-after", "")
    return float(after) if after.isascii() and after.isdigit() and len(after) < 6 else 0.0
