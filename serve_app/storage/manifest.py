"""Reading of RocksDB's MANIFEST what a check of the logs needs: which logs are still needed, and how far the tables go.

Format (RocksDB: db/version_edit.h and version_edit.cc): records framed as in a log, each a list of tagged fields. A tag that
is not known here makes the answer None, so that a later RocksDB is never taken for damage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serve_app.storage import wal

_LOG_NUMBER, _LAST_SEQUENCE, _MIN_LOG, _COLUMN_FAMILY = 2, 4, 10, 200
_COLUMN_FAMILY_DROP = 202
_NEW_FILE = 103
_END_OF_FILE_FIELDS = 1
#: Tags from here on carry their length, so that who doesn't know them skips them.
_SKIPPABLE = 1 << 13
# The fields of the other tags that a database without blobs has: n a number, b bytes with their length.
_FIELDS = {
    1: "b",
    2: "n",
    3: "n",
    4: "n",
    5: "nb",
    6: "nn",
    9: "n",
    10: "n",
    200: "n",
    201: "b",
    202: "",
    203: "n",
    300: "n",
}


@dataclass(frozen=True)
class Manifest:
    """first_log: logs with lower numbers are no longer needed. last_sequence: of the last change when it was last written."""

    first_log: int
    last_sequence: int


class _Unknown(Exception):
    pass


def read_manifest(database: Path) -> Manifest | None:
    """What the current MANIFEST says; None where it can't be read here, which says nothing of its health."""
    logs: dict[int, int] = {}
    least = last_sequence = 0
    try:
        name = (database / "CURRENT").read_text().strip()
        for record in wal.batches((database / name).read_bytes()):
            edit = _edit(record.payload)
            family = edit.get(_COLUMN_FAMILY, 0)
            if _COLUMN_FAMILY_DROP in edit:
                logs.pop(family, None)
            elif _LOG_NUMBER in edit:
                logs[family] = max(edit[_LOG_NUMBER], logs.get(family, 0))
            least = max(least, edit.get(_MIN_LOG, 0))
            last_sequence = max(last_sequence, edit.get(_LAST_SEQUENCE, 0))
    except (OSError, UnicodeDecodeError, ValueError, IndexError, _Unknown):
        return None
    return Manifest(max(least, min(logs.values(), default=0)), last_sequence)


def _edit(record: bytes) -> dict[int, int]:
    """The last number of each tag."""
    found: dict[int, int] = {}
    position = 0
    while position < len(record):
        tag, position = _number(record, position)
        if tag == _NEW_FILE:
            position = _after_new_file(record, position)
            continue
        if tag & _SKIPPABLE:
            position = _after_bytes(record, position)
            continue
        if tag not in _FIELDS:
            raise _Unknown
        number = 0
        for field in _FIELDS[tag]:
            if field == "n":
                number, position = _number(record, position)
            else:
                position = _after_bytes(record, position)
        found[tag] = number
    if position != len(record):
        raise _Unknown
    return found


def _after_new_file(record: bytes, position: int) -> int:
    """Level, number and size, the first and last key, their sequence numbers, then fields with their length."""
    for field in "nnnbbnn":
        position = _number(record, position)[1] if field == "n" else _after_bytes(record, position)
    while True:
        tag, position = _number(record, position)
        if tag == _END_OF_FILE_FIELDS:
            return position
        position = _after_bytes(record, position)


def _after_bytes(record: bytes, position: int) -> int:
    length, position = _number(record, position)
    return position + length


def _number(record: bytes, position: int) -> tuple[int, int]:
    """A varint, and where it ends."""
    number = shift = 0
    while True:
        byte = record[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
