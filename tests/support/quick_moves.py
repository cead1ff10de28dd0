"""Shorter waits between the steps of a move, for stores whose directories and buckets are all in one process."""

from __future__ import annotations

import pytest

from serve_app.bucket import server
from serve_app.directory import watch
from serve_app.resharding import coordinator, mover


def move_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agree at once, look often, give up soon. The order of things stays what it is."""
    monkeypatch.setattr(coordinator, "AGREED_S", 0.05)
    monkeypatch.setattr(watch, "REFRESH_S", 0.1)
    monkeypatch.setattr(mover, "_ASK_TIMEOUT_S", 0.5)
    monkeypatch.setattr(server, "_LEFT_ALONE_S", 1.0)
