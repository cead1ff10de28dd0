"""The blocks of code on a page, and what they are to print."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from harness.running_store import ROOT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PRINTED = re.compile(r"^\s*print\(.*\)  # (.*)$", re.MULTILINE)


class Block(NamedTuple):
    """page: below the top of the repository. line: where it begins. kind: what stands behind the three backticks."""

    page: str
    line: int
    kind: str
    code: str

    @property
    def printed(self) -> list[str]:
        """What is said behind each `print`, in order."""
        return _PRINTED.findall(self.code)

    @property
    def needs_ray(self) -> bool:
        return "import serve_app" in self.code

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """Those between three backticks."""
    text = Path(ROOT / page).read_text()
    return [Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in _BLOCK.finditer(text)]
