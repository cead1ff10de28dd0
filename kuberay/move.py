"""Following the store on its way to another number of buckets: how far it is, and what it waits for, as it says itself."""

from __future__ import annotations

import dataclasses

from kuberay.diagnosis import troubles
from kuberay.observation import observe
from kuberay.session import Session
from kuberay.store import Reply
from kuberay.waiting import Look, Trouble, wait
from serve_app.command_output.move_progress import MoveProgress, moving, reasons
from serve_app.http.models import TopologyAnswer

#: Before pods are ended, the store has to have had its number of buckets for this long. A directory that has not been told
#: yet could still make it move, and buckets that are left out end their own processes within this time.
SETTLED_S = 10.0


class Move:
    """The way to `count` buckets. `known` is what the store says now."""

    def __init__(self, session: Session, count: int, known: TopologyAnswer) -> None:
        self._session = session
        self._count = count
        self._epoch = known.epoch
        self._last = Look("")
        self._settled_s: float | None = None
        self._progress = MoveProgress()

    def follow(self, timeout_s: float, *, settled_s: float) -> None:
        """Show it, until the store has had `count` buckets for `settled_s`. Raises Failure after `timeout_s`."""
        wait(
            lambda: self._look(settled_s),
            what=f"moving to {self._count} buckets",
            timeout_s=timeout_s,
            terminal=self._session.terminal,
            clock=self._session.clock,
        )

    def _look(self, settled_s: float) -> Look:
        reply = self._session.store.topology()
        known = reply.topology
        if known is not None and known.epoch < self._epoch:
            return self._last  # this directory is behind the one that answered before
        self._last = self._judge(reply, known, settled_s)
        return self._last

    def _judge(self, reply: Reply, known: TopologyAnswer | None, settled_s: float) -> Look:
        now_s = self._session.clock.monotonic_s()
        if known is None:
            self._settled_s = None
            return Look(f"the store does not answer just now: {reply.trouble}", troubles=self._troubles())
        self._epoch = known.epoch
        if known.phase == "moving":
            self._settled_s = None
            return self._moving(known, self._troubles() if reply.unreachable else ())
        if (known.bucket_count, known.configured_count) == (self._count, self._count):
            if self._settled_s is None:
                self._settled_s = now_s
            if now_s - self._settled_s >= settled_s:
                return Look("", done=True)
            return Look(f"the store has {self._count} buckets; waiting for those that are left over to end")
        self._settled_s = None
        if known.configured_count != self._count:
            return Look(f"waiting for KubeRay to tell the directories of {self._count} buckets")
        return Look(f"waiting for the move to begin{reasons(known)}", troubles=self._troubles())

    def _moving(self, known: TopologyAnswer, found: tuple[Trouble, ...]) -> Look:
        return Look(
            f"{moving(known)}{reasons(known)}",
            troubles=found,
            share=self._progress.share(known, self._session.clock.now()),
        )

    def _troubles(self) -> tuple[Trouble, ...]:
        """What keeps pods from running. The move goes on when they do, so nothing of it ends the wait."""
        return tuple(dataclasses.replace(trouble, heals=True) for trouble in troubles(observe(self._session)))
