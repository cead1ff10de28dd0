"""Fixtures that many tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from harness.running_store import RunningStore

#: Folders of tests that start a Ray or have a browser: they share their cluster, and take turns, where tests run in several
#: processes. (By folder and not by mark: pytest-xdist 3.8 sees no groups with pytest 9.)
_ONE_AT_A_TIME = ("tests/browser/", "tests/crash/", "tests/integration/")


class _RayTakesTurns(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return "ray" if nodeid.startswith(_ONE_AT_A_TIME) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _RayTakesTurns:
    return _RayTakesTurns(config, log)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One real store of 3 buckets and 2 directories for all tests that leave it as they found it: running, with all its
    buckets. Use keys of your own."""
    with RunningStore(tmp_path_factory.mktemp("store"), bucket_count=3, directories=2) as running:
        yield running
