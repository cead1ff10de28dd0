"""Exports and imports: records as lines of JSON (ndjson.org)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from cloud_storage import answers, calls
from cloud_storage.errors import Interrupted, StoreError, Unavailable
from cloud_storage.exchange import Call, Request, Response
from cloud_storage.records import Imported
from cloud_storage.steps import Broken

#: An import is sent in parts of about this size: what is not known to be stored is sent again.
PART_BYTES = 4 * 1024 * 1024
_TYPE = "application/x-ndjson"
_EARLY = "it ended early"
#: Records and bytes that a call has done so far.
OnProgress = Callable[[int, int], None]


class Lines:
    """An export as it comes, cut into whole lines. A connection that breaks costs the line that it broke in: the export goes
    on behind the last whole one, for it comes in the order of keys."""

    def __init__(self, start_after: str = "") -> None:
        self._start_after = start_after
        #: Of a line that has not ended.
        self._rest: list[bytes] = []
        self._last = b""
        self._ended, self._why = False, _EARLY
        self.records = self.size = 0

    def request(self, prefix: str) -> Request:
        """For what follows."""
        self._rest, self._why = [], _EARLY
        if self._last:
            self._start_after = str(json.loads(self._last)["key"])
        asked = {"prefix": prefix, "start_after": self._start_after}
        return Request("GET", calls.target("/v1/export", {name: text for name, text in asked.items() if text}))

    def feed(self, some: bytes) -> bytes:
        """The records that are whole now."""
        *lines, rest = some.split(b"\n")
        if not lines:
            self._rest.append(rest)
            return b""
        lines[0] = b"".join([*self._rest, lines[0]])
        self._rest = [rest]
        ending = _ending(lines[-1])
        if ending is not None:
            lines.pop()
            self._ended, self._why = "exported" in ending, _why(ending)
        if lines:
            self._last = lines[-1]
        whole = b"".join(line + b"\n" for line in lines)
        self.records, self.size = self.records + len(lines), self.size + len(whole)
        return whole

    def ending(self) -> bytes:
        """The last line. Raises Broken: none has come that says so."""
        if not self._ended:
            raise Broken(self._why)
        return b'{"exported":%d}\n' % self.records

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Where no more time is left inside, an export that has begun is Interrupted."""
        try:
            yield
        except Unavailable as error:
            if not self.records:
                raise
            raise Interrupted(f"the export is not whole: {error}") from None


def _ending(line: bytes) -> dict[str, Any] | None:
    """What a line says that is no record's."""
    if line.startswith((b'{"exported":', b'{"failed":')):
        found: dict[str, Any] = json.loads(line)
        return found
    return None


def _why(ending: dict[str, Any]) -> str:
    return str(ending.get("failed", {}).get("detail", _EARLY))


def tell(on_progress: OnProgress | None, lines: Lines) -> None:
    if on_progress is not None:
        on_progress(lines.records, lines.size)


def parts(file: Iterable[bytes]) -> Iterator[bytes]:
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


class Taken:
    """What an import has done. lines: of the file, so far."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._size = 0
        self.lines = 0
        self.imported = Imported(0, 0)

    def add(self, part: bytes, done: Imported) -> None:
        """A part is stored."""
        self._size += len(part)
        self.lines += part.count(b"\n")
        self.imported = Imported(self.imported.imported + done.imported, self.imported.expired + done.expired)
        if self._on_progress is not None:
            self._on_progress(self.imported.imported + self.imported.expired, self._size)


def import_call(part: bytes, lines_before: int = 0) -> Call[Imported]:
    """Putting the same records twice is as good as once, unless another client writes the same keys meanwhile.

    lines_before: of the file, before the part: what is wrong is told with its number in the file.
    """

    def read(response: Response) -> Imported:
        if response.status != 200:
            raise _renumbered(response, lines_before)
        told = json.loads(response.body)
        return Imported(told["imported"], told["expired"])

    return Call(Request("POST", "/v1/import", {"Content-Type": _TYPE}, part, writes=True), read)


def _renumbered(response: Response, lines_before: int) -> StoreError:
    problem = answers.problem_of(response)
    if problem is None or not isinstance(problem.get("line"), int):
        return calls.failure(response)
    line, detail = problem["line"], str(problem.get("detail", ""))
    told = detail.removeprefix(f"line {line}: ")
    return answers.error_of({**problem, "detail": f"line {line + lines_before:,}: {told}"})
