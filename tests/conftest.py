"""Fixtures that many tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.running_store import RunningStore

#: What starts a Ray or has a browser: those share their cluster, and take turns, where tests run in several processes.
_ONE_AT_A_TIME = ("ray", "browser", "strace")


def pytest_itemcollected(item: pytest.Item) -> None:
    """As soon as that: pytest-xdist looks at the marks once all are collected, before a conftest can change them then."""
    if any(item.get_closest_marker(name) for name in _ONE_AT_A_TIME):
        item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One real store of 3 buckets and 2 directories for all tests that leave it as they found it: running, with all its
    buckets. Use keys of your own."""
    with RunningStore(tmp_path_factory.mktemp("store"), bucket_count=3, directories=2) as running:
        yield running
