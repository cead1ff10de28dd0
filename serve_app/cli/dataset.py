"""What the demo loads: Debian's package list, or a JSON Lines file of keys and values. All of it is held in memory."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.command_output.failure import Failure
from serve_app.errors import InvalidRequest
from serve_app.record_bounds import MAX_VALUE_BYTES, check_key


@dataclass(frozen=True)
class DataSet:
    """Records to load, by key. Of a key that came several times the last is kept; `replaced` counts the others."""

    name: str
    records: dict[str, str]
    replaced: int

    @property
    def size_bytes(self) -> int:
        """Keys and values as UTF-8."""
        return sum(len(key.encode()) + len(value.encode()) for key, value in self.records.items())


def load(data: Path | None) -> DataSet:
    """The file's records, or Debian's packages where no file is named.

    Raises:
        Failure: there are none to be had; it says why.
    """
    return _collect(str(data), read_json_lines(data)) if data is not None else debian_packages()


def debian_packages() -> DataSet:
    """Every package that apt knows of: its name, and its record as apt shows it."""
    try:
        listed = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True)  # noqa: S607
    except FileNotFoundError:
        raise Failure(
            "apt-cache, whose package list the demo loads, is not on this machine; give a data set with --data FILE "
            '(JSON Lines of {"key": …, "value": …})'
        ) from None
    except subprocess.CalledProcessError as error:
        raise Failure(
            f"apt-cache dumpavail failed ({error.stderr.decode(errors='replace').strip() or error.returncode}); "
            "give a data set with --data FILE"
        ) from None
    found = _collect("Debian's package list", parse_packages(listed.stdout.decode("utf-8", "replace")))
    if not found.records:
        raise Failure("apt-cache knows no packages: run `apt-get update` first, or give a data set with --data FILE")
    return found


def parse_packages(text: str) -> Iterator[tuple[str, str]]:
    """The name and the whole paragraph of each package in `apt-cache dumpavail`'s output."""
    for paragraph in text.split("\n\n"):
        stanza = paragraph.strip("\n")
        for line in stanza.split("\n"):
            field, _, name = line.partition(":")
            if field == "Package" and name.strip():
                yield name.strip(), stanza
                break


def read_json_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The keys and values of a JSON Lines file; empty lines are nothing.

    Raises:
        Failure: the file can't be read, or a line is not a record; it names the line.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield _record(line)
                    except ValueError as error:
                        raise Failure(f"{path}, line {number}: {error}") from None
    except OSError as error:
        raise Failure(f"{path} can't be read: {error.strerror}") from None


def _record(line: bytes) -> tuple[str, str]:
    """A line's key and value. Raises ValueError where it has none that the store takes."""
    try:
        document: Any = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} of the line is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(document, dict) or set(document) != {"key", "value"}:
        raise ValueError('not an object of exactly "key" and "value"')
    key, value = document["key"], document["value"]
    for name, text in document.items():
        if not isinstance(text, str):
            raise ValueError(f'"{name}" is not a string')
    try:
        check_key(key)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("the value is not valid Unicode text: it holds half of a surrogate pair") from None
    if size_bytes > MAX_VALUE_BYTES:
        raise ValueError(f"the value is {size_bytes:,} bytes long; a value has at most {MAX_VALUE_BYTES:,}")
    return key, value


def _collect(name: str, pairs: Iterator[tuple[str, str]]) -> DataSet:
    records: dict[str, str] = {}
    count = 0
    for key, value in pairs:
        count += 1
        records[key] = value
    return DataSet(name, records, count - len(records))
