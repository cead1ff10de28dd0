"""The table of put-in bugs in README.md, as `MUTATIONS` says: `python -m tests.simulation.bugs_table` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.simulation.mutations.all import MUTATIONS

README = Path(__file__).parent / "README.md"
_TABLE = re.compile(r"(?<=<!-- bugs -->\n).*?(?=\n## )", re.DOTALL)


def table() -> str:
    """As it has to be."""
    rows = [
        f"| {mutation.name} | {', '.join(sorted(mutation.expects))} | {mutation.within_seeds} |"
        for mutation in MUTATIONS
    ]
    return "\n".join(["", "| bug | caught by | within |", "| --- | --- | ---: |", *rows, ""])


def stated() -> str:
    """As it is."""
    found = _TABLE.search(README.read_text())
    return "" if found is None else found[0]


if __name__ == "__main__":
    README.write_text(_TABLE.sub(lambda _: table(), README.read_text()))
