"""`python -m serve_app demo`, which is `make demo`. Being written."""

from __future__ import annotations

from pathlib import Path

from serve_app.cli.failure import Failure


def demo(url: str, data: Path | None, connections: int, check_only: bool) -> int:
    """Load a data set and check it."""
    raise Failure("the demo is not written yet")
