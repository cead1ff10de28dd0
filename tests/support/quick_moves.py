"""Moves in stores whose directories and buckets are all in one process: filling them, shorter waits, and the end."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from serve_app.bucket import server
from serve_app.directory import polling
from serve_app.directory.directory import Directory
from serve_app.resharding import coordinator, mover
from tests.support.asking import put
from tests.support.local_store import LocalStore


def move_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agree at once, look often, give up soon. The order of things stays what it is."""
    monkeypatch.setattr(coordinator, "AGREED_S", 0.05)
    monkeypatch.setattr(polling, "REFRESH_S", 0.1)
    monkeypatch.setattr(mover, "_ASK_TIMEOUT_S", 0.5)
    monkeypatch.setattr(server, "_LEFT_ALONE_S", 1.0)


async def filled(store: LocalStore, bucket_count: int, keys: Iterable[bytes]) -> Directory:
    """A directory configured with this many buckets, through which the keys were put."""
    directory = await store.directory(bucket_count)
    for key in keys:
        await put(directory, key, b"v" * 100, "")
    return directory


def settled(directory: Directory, count: int) -> bool:
    """Whether the directory knows of this many buckets, and of no move."""
    topology = directory.view.topology
    return topology is not None and not topology.moving and topology.bucket_count == count
