"""Warnings that come as often as a stranger likes are logged at most once a second, and none goes uncounted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app import events
from serve_app.seldom import INTERVAL_S, Seldom


class Clock:
    """A loop's `call_later`, by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: dict[float, list[Callable[[], None]]] = {}

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Clock:
        self._due.setdefault(self.now_s + delay_s, []).append(callback)
        return self

    def cancel(self) -> None:
        self._due.clear()  # it has one timer at most

    def advance(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while (due := min(self._due, default=end_s + 1)) <= end_s:
            self.now_s = due
            for callback in self._due.pop(due):
                callback()
        self.now_s = end_s


class Log:
    """What was logged, and when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        self.lines: list[tuple[float, str, dict[str, Any]]] = []
        monkeypatch.setattr(events, "warning", lambda event, **fields: self.lines.append((clock.now_s, event, fields)))


def test_the_first_at_once_and_the_rest_with_its_number_a_second_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    log = Log(monkeypatch, clock)
    seldom = Seldom(clock.call_later, bucket=3)
    for number in range(5):
        seldom.warning("knocked", number=number)
    assert log.lines == [(0.0, "knocked", {"bucket": 3, "number": 0})]
    clock.advance(INTERVAL_S)
    assert log.lines[1:] == [(INTERVAL_S, "knocked", {"bucket": 3, "number": 4, "count": 4})]
    clock.advance(10)
    assert len(log.lines) == 2
    seldom.warning("knocked", number=5)
    assert log.lines[2:] == [(clock.now_s, "knocked", {"bucket": 3, "number": 5})]


@given(st.lists(st.floats(0, 3), max_size=60))
def test_at_most_once_a_second_and_none_uncounted(pauses_s: list[float]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock()
        log = Log(monkeypatch, clock)
        seldom = Seldom(clock.call_later)
        for pause_s in pauses_s:
            clock.advance(pause_s)
            seldom.warning("knocked")
        times_s = [time_s for time_s, _, _ in log.lines]
        assert all(later - earlier >= INTERVAL_S - 1e-6 for earlier, later in itertools.pairwise(times_s))
        seldom.flush()
        assert sum(fields.get("count", 1) for _, _, fields in log.lines) == len(pauses_s)


def test_nothing_is_left_behind_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    log = Log(monkeypatch, clock)
    seldom = Seldom(clock.call_later)
    seldom.flush()
    seldom.warning("knocked")
    seldom.warning("knocked")
    seldom.flush()
    clock.advance(10)
    assert [fields.get("count") for _, _, fields in log.lines] == [None, 1]
