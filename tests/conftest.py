"""Fixtures that many tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.running_store import RunningStore


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One real store of 3 buckets and 2 directories for all tests that leave it as they found it: running, with all its
    buckets. Use keys of your own."""
    with RunningStore(tmp_path_factory.mktemp("store"), bucket_count=3, directories=2) as running:
        yield running
