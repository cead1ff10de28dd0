"""What the crash tests did, in numbers, at the end of a run: a kill that fell outside of what it was for proves nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_told = pytest.StashKey[list[str]]()


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
