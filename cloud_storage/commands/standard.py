"""Standard input and output as a command finds them: whoever started it may have closed them, and nobody may read them."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any


class _Closed(io.RawIOBase):
    """What can be neither read nor written."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise self._error()

    def write(self, some: Any) -> int:
        raise self._error()

    def _error(self) -> OSError:
        return OSError(errno.EBADF, "it is closed", self._name)


def replace_closed() -> None:
    """Have whoever reads or writes what is closed fail, and nobody else: a `put` needs no output. Python has None there."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    # No file or socket that is opened from here on may be taken for one of them.
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_Closed("standard input")))
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Closed("standard output")))


def forget_output() -> None:
    """Where it can't be written, Python would complain once more of what it still holds."""
    try:
        sys.stdout.flush()
        return
    except (OSError, ValueError):
        pass
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        sys.stdout = io.StringIO()  # an output that is no file
