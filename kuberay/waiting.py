"""Waiting for something in the cluster: shows what for, says at once what is in the way, and ends when it can't come.

Trouble that can't heal by itself (an image that does not exist) ends the wait, but only once it has been there for a while:
many causes show for a moment while a cluster sorts itself out. Trouble that may heal (a pod that fits on no node, which an
autoscaler may change) is shown, and waited out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kuberay.api.errors import Unreachable
from kuberay.clock import Clock
from serve_app.command_output.failure import Failure
from serve_app.command_output.move_progress import Share
from serve_app.command_output.terminal import Terminal

POLL_S = 1.0
#: How long trouble that can't heal by itself has to last before it ends the wait.
GRACE_S = 10.0


@dataclass(frozen=True)
class Trouble:
    """Something in the way. `about` tells one trouble from another while its sentence changes. grace_s: how long it has to
    last, where it does not heal by itself, before it ends the wait."""

    about: str
    sentence: str
    heals: bool = False
    grace_s: float = GRACE_S


@dataclass(frozen=True)
class Look:
    """How far it is: `line` is what is waited for; `share` how much of it is done, where that can be counted."""

    line: str
    done: bool = False
    troubles: tuple[Trouble, ...] = ()
    share: Share | None = None


def wait(look: Callable[[], Look], *, what: str, timeout_s: float, terminal: Terminal, clock: Clock) -> None:
    """Look again and again until it is done.

    Raises:
        Failure: it did not come within `timeout_s`, or something is in its way that does not go by itself.
    """
    watch = _Watch(terminal)
    deadline_s = clock.monotonic_s() + timeout_s
    with terminal.waiting():
        while True:
            try:
                seen = look()
            except Unreachable as unreachable:  # an API server restarts, a laptop sleeps
                seen = Look(str(unreachable))
            if seen.done:
                return
            terminal.progress(seen.line, seen.share)
            now_s = clock.monotonic_s()
            watch.judge(seen.troubles, now_s)
            if now_s >= deadline_s:
                why = "; ".join(trouble.sentence for trouble in seen.troubles) or seen.line
                raise Failure(f"{what} took longer than {timeout_s:g} s: {why}")
            clock.sleep(POLL_S)


class _Watch:
    """Remembers what was in the way, and since when."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._since_s: dict[str, float] = {}
        self._said: dict[str, str] = {}

    def judge(self, troubles: tuple[Trouble, ...], now_s: float) -> None:
        """Say what is new; raise Failure for what has lasted too long."""
        current = {trouble.about: trouble for trouble in troubles}
        self._since_s = {about: self._since_s.get(about, now_s) for about in current}
        for about, trouble in current.items():
            if not trouble.heals and now_s - self._since_s[about] >= trouble.grace_s:
                raise Failure(trouble.sentence)
            if self._said.get(about) != trouble.sentence:
                self._said[about] = trouble.sentence
                self._terminal.warn(trouble.sentence)
