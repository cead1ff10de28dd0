"""Bugs in who takes over, and in what a process may do that has started again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from serve_app.replication.entry import Known
from serve_app.replication.following import Following
from serve_app.replication.primary import Primary
from serve_app.replication.standby import Standby, Verdict
from serve_app.replication.stream import Sent
from tests.replication.parts import Copy
from tests.replication.world import World


@contextmanager
def the_silence_is_not_looked_at_again() -> Iterator[None]:
    """It was complete when acceptors were asked for a promise; what was acknowledged since does not count."""
    may = Standby.may_promote

    def may_promote(self: Standby, now_s: float) -> bool:
        known = self.__dict__.setdefault("silent_under", set())
        if may(self, now_s):
            known.add(self.known.epoch)
        fits = not self.following.learning and self.entry.in_sync and self.entry.standby == self.identity
        return fits and self.known.epoch in known

    with patch.object(Standby, "may_promote", may_promote):
        yield


@contextmanager
def a_restarted_standby_does_not_wait() -> Iterator[None]:
    """Its second does not begin anew."""
    init = Standby.__init__

    def beginning(self: Standby, identity: str, known: Known, following: Following, now_s: float) -> None:
        init(self, identity, known, following, -math.inf)

    with patch.object(Standby, "__init__", beginning):
        yield


@contextmanager
def a_standby_acknowledges_after_it_has_asked() -> Iterator[None]:
    """Though its own promotion may be decided."""
    judge = Standby.judge

    def judging(self: Standby, sent: Sent[Any]) -> Verdict:
        following, self.following = self.following, self.following._replace(marked=0)
        verdict = judge(self, sent)
        self.following = following
        return verdict

    with patch.object(Standby, "judge", judging):
        yield


@contextmanager
def the_mark_is_kept_in_memory() -> Iterator[None]:
    """After a restart it acknowledges again."""
    start = World._start

    def starting(self: World, copy: Copy, *, restarted: bool) -> None:
        copy.storage.following = copy.storage.following._replace(marked=0)
        start(self, copy, restarted=restarted)

    with patch.object(World, "_start", starting):
        yield


@contextmanager
def the_request_to_take_over_names_no_entry() -> Iterator[None]:
    """It is remembered for whatever comes."""
    install, may = Standby.install, Standby.may_promote

    def installing(self: Standby, known: Known) -> Following:
        asked = self.asked
        following = install(self, known)
        self.asked = asked
        return following

    def may_promote(self: Standby, now_s: float) -> bool:
        asked, self.asked = self.asked, self.entry.epoch if self.asked else 0
        able = may(self, now_s)
        self.asked = asked
        return able

    with patch.object(Standby, "install", installing), patch.object(Standby, "may_promote", may_promote):
        yield


@contextmanager
def a_restarted_primary_serves() -> Iterator[None]:
    """Though its standby is in sync."""
    init = Primary.__init__

    def beginning(self: Primary, *rest: Any, restarted: bool) -> None:
        init(self, *rest, restarted=restarted and not rest[1].entry.in_sync)

    with patch.object(Primary, "__init__", beginning):
        yield


@contextmanager
def a_restarted_lone_primary_serves() -> Iterator[None]:
    """Without having anything decided anew: a join that it proposed before may be."""
    init = Primary.__init__

    def beginning(self: Primary, *rest: Any, restarted: bool) -> None:
        init(self, *rest, restarted=restarted and rest[1].entry.in_sync)

    with patch.object(Primary, "__init__", beginning):
        yield


@contextmanager
def a_join_decided_after_the_start_ends_recovery() -> Iterator[None]:
    """It was proposed by the process before."""
    install = Primary.install

    def installing(self: Primary, known: Known) -> bool:
        stays = install(self, known)
        if stays and known.entry.in_sync:
            self.recovering = False
        return stays

    with patch.object(Primary, "install", installing):
        yield


@contextmanager
def a_copy_that_is_not_in_sync_takes_over() -> Iterator[None]:
    """When it has heard nothing for long enough."""

    def may_promote(self: Standby, now_s: float) -> bool:
        return self.entry.standby == self.identity and now_s - self.heard_s >= 1.0

    with patch.object(Standby, "may_promote", may_promote):
        yield


BUGS = (
    the_silence_is_not_looked_at_again,
    a_restarted_standby_does_not_wait,
    a_standby_acknowledges_after_it_has_asked,
    the_mark_is_kept_in_memory,
    the_request_to_take_over_names_no_entry,
    a_restarted_primary_serves,
    a_restarted_lone_primary_serves,
    a_join_decided_after_the_start_ends_recovery,
    a_copy_that_is_not_in_sync_takes_over,
)
