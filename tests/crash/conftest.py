"""What crash tests share: a store to kill, and a place to say what was killed.

At the end of a run the summary gives it in numbers: a kill that fell outside of what it was meant for proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.running_store import RunningStore

_told = pytest.StashKey[list[str]]()

MOVE_BYTES_PER_S = 60_000


@pytest.fixture(scope="module")
def crash_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """A real store, with two directories, for all tests of a module that see it come back from what they do to it. Not for
    more: what requests with idempotency keys have left is moved with the keys, and takes longer than what is tested.

    Use `with_buckets` for the number of buckets, and keys of your own. It moves keys slowly, so that there is time to kill.
    """
    folder = tmp_path_factory.mktemp("crash")
    limits = {"move_bytes_per_s": MOVE_BYTES_PER_S}
    with RunningStore(folder, bucket_count=2, directories=2, args={"limits": limits}) as running:
        yield running


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Adds a line to the section "crash tests" of the terminal's summary."""
    lines = request.config.stash.setdefault(_told, [])
    return lambda line: lines.append(f"{request.node.name}: {line}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(_told, [])
    if lines:
        terminalreporter.section("crash tests")
        for line in lines:
            terminalreporter.write_line(line)
