"""What is typed as a value, a duration or a moment."""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from cloud_storage.calls import BYTES_TYPE, TEXT_TYPE
from cloud_storage.commands.statuses import Ended, Status

#: The longest value that a store takes: more of an endless input is not read.
LONGEST = 25 * 1024 * 1024
STDIN = "-"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, None: 1}


def value_of(argument: str | None, file: Path | None) -> bytes:
    """The value that is meant: the argument's bytes, a file's, or those of standard input.

    Raises:
        Ended: there is none, there are two, or it is too long.
        OSError: the file can't be read.
    """
    if argument is not None and file is not None:
        raise Ended(Status.USAGE, "a value and --file: which one is meant?")
    if file is not None:
        with file.open("rb") as opened:
            return _all_of(opened)
    if argument is not None and argument != STDIN:
        return os.fsencode(argument)
    if argument is None and sys.stdin.isatty():
        raise Ended(Status.USAGE, "no value: type one, name a --file, or write it to standard input ('-')")
    return _all_of(sys.stdin.buffer)


def _all_of(file: BinaryIO) -> bytes:
    value = file.read(LONGEST + 1)
    if len(value) > LONGEST:
        raise Ended(Status.REFUSED, f"a value has at most {LONGEST:,} bytes, and this one has more")
    return value


def type_of(value: bytes) -> str:
    """Of a value whose type nobody names."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return BYTES_TYPE
    return TEXT_TYPE


def seconds(text: str | None) -> float | None:
    """A duration: seconds, or a number with ms, s, m, h or d.

    >>> seconds("90"), seconds("1.5h"), seconds("250ms")
    (90.0, 5400.0, 0.25)
    """
    if text is None:
        return None
    match = _DURATION.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise Ended(Status.USAGE, f"{text!r} is no duration: write seconds, or 30s, 5m, 2h, 7d")
    return float(match[1]) * _SECONDS[match[2]]


def moment(text: str | None) -> datetime | None:
    """A moment: seconds since 1970, or as RFC 3339 writes it.

    >>> moment("2027-01-01T00:00:00Z").isoformat(), moment("0").year
    ('2027-01-01T00:00:00+00:00', 1970)
    """
    if text is None:
        return None
    try:
        found = datetime.fromtimestamp(float(text), UTC) if _DURATION.fullmatch(text) else datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        found = None
    if found is None or found.tzinfo is None:
        raise Ended(Status.USAGE, f"{text!r} is no moment: write 2027-01-01T12:00:00Z, or seconds since 1970")
    return found
