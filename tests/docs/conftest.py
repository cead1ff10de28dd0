"""A store as a reader has it who has typed `make run`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.running_store import RunningStore


@pytest.fixture(scope="package")
def readers_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """With one directory: with more of them Ray has no core left for a task on a machine of two."""
    with RunningStore(tmp_path_factory.mktemp("reader")) as running:
        yield running
