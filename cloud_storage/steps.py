"""What a client does next, as a generator that does nothing itself: it says what to send and how long to pause, and is told
what came of it. One such for the sync and the async client, which differ in how they send and sleep."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from cloud_storage import answers, calls
from cloud_storage.attempts import Attempts, Budget
from cloud_storage.errors import StoreError
from cloud_storage.exchange import Call, Request, Response

T = TypeVar("T")
#: One attempt waits no longer than this: a store answers within its own limit, 10 s where nobody has changed it.
ATTEMPT_S = 15.0


class NotSent(Exception):
    """There was no connection: the store has seen nothing of the request."""


class Broken(Exception):
    """The connection broke, or was silent for too long, after something of the request may have been sent."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Send this, and wait so long for all of the answer, in seconds."""

    request: Request
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for a while."""

    seconds: float


#: What comes of an Exchange.
Outcome = Response | NotSent | Broken
Steps = Generator[Exchange | Pause, Outcome | None, T]


def carried_out(call: Call[T], deadline_s: float, budget: Budget, clock: Callable[[], float]) -> Steps[T]:
    """Have a call carried out, by as many attempts as that takes until the deadline, on the clock.

    Raises:
        StoreError: what `call` says of its answer; Unavailable or OutcomeUnknown where there is none in time.
    """
    attempts = Attempts(call.request, deadline_s, budget)
    while True:
        outcome = yield Exchange(call.request, min(attempts.left_s(clock()), ATTEMPT_S))
        if isinstance(outcome, Response):
            pause_s = attempts.answered(outcome, clock())
            if pause_s is None:
                try:
                    return call.read(outcome)
                except StoreError:
                    raise
                except Exception as error:  # it may be cut short or mixed up in any way: then it is no answer
                    pause_s = attempts.broken(f"the answer can't be read ({type(error).__name__})", clock())
        elif isinstance(outcome, NotSent):
            pause_s = attempts.not_sent(str(outcome), clock())
        else:
            pause_s = attempts.broken(str(outcome), clock())
        yield Pause(pause_s)


def refusal(response: Response) -> Exception:
    """What to raise where something else came than the body that was to be read bit by bit: Broken where that may be tried
    again, else StoreError."""
    problem = answers.problem_of(response)
    if problem is None:
        return Broken(f"something that is not the store answered with status {response.status}")
    if answers.kind_of(problem) in answers.AGAIN:
        return Broken(str(problem.get("detail", "")))
    return calls.failure(response)
