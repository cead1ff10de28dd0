"""Exports and imports: records as lines of JSON (ndjson.org)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

from cloud_storage import calls
from cloud_storage.errors import Interrupted
from cloud_storage.exchange import Call, Request, Response
from cloud_storage.records import Imported

#: An import is sent in parts of about this size: what is not known to be stored is sent again.
PART_BYTES = 4 * 1024 * 1024
_TYPE = "application/x-ndjson"
#: The last line is short; that much of the end is kept to read it.
_ENDING_BYTES = 4096


def export_request(prefix: str) -> Request:
    return Request("GET", calls.target("/v1/export", {"prefix": prefix} if prefix else {}))


class Ending:
    """The last line of an export, which says whether it is whole."""

    def __init__(self) -> None:
        self._end = b""

    @property
    def begun(self) -> bool:
        """Whether anything has come."""
        return bool(self._end)

    def feed(self, some: bytes) -> None:
        self._end = (self._end + some)[-_ENDING_BYTES:]

    def exported(self) -> int:
        """How many records there were. Raises Interrupted: it is not whole."""
        last = self._end.rstrip(b"\n").rpartition(b"\n")[2]
        try:
            told = json.loads(last)
        except ValueError:
            raise Interrupted("the export ended in the middle of a record") from None
        if "exported" not in told:
            raise Interrupted(f"the export is not whole: {told.get('failed', {}).get('detail', 'it ended early')}")
        return int(told["exported"])


def parts(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, some megabytes of them together."""
    lines: list[bytes] = []
    size = 0
    for line in file:
        if lines and size + len(line) > PART_BYTES:
            yield b"".join(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield b"".join(lines)


def import_call(part: bytes) -> Call[Imported]:
    """Putting the same records twice is as good as once, unless another client writes the same keys meanwhile."""
    return Call(
        Request("POST", "/v1/import", {"Content-Type": _TYPE}, part, writes=True), calls.else_raise({200}, _read)
    )


def _read(response: Response) -> Imported:
    told = json.loads(response.body)
    return Imported(told["imported"], told["expired"])
