"""Which table RocksDB can't read, where its own message blames the MANIFEST that lists them all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rocksdict import Options, Rdict

from serve_app.storage import wal

# What RocksDB says of a table that is whole but was not made to be ingested.
_WHOLE = "External file version not found"


def unreadable_tables(database: Path) -> list[Path]:
    """The tables that RocksDB can't open, each tried alone.

    Each is offered to an empty database, which looks into it and then refuses it, since it was not made for that. Nothing
    is copied or changed. Empty where nothing could be tried.
    """
    found = []
    try:
        with tempfile.TemporaryDirectory(prefix="table-check-") as scratch:
            judge = Rdict(scratch, Options(raw_mode=True))
            for table in sorted(database.glob("*.sst")):
                try:
                    judge.ingest_external_file([str(table)])
                except Exception as error:
                    if _WHOLE.lower() not in str(error).lower():
                        found.append(table)
            judge.close()
    except Exception:
        return []  # no room for a scratch folder: the first message has to do
    return found


def manifest_is_whole(database: Path) -> bool:
    """Whether every record in the MANIFEST fits its checksum."""
    try:
        data = (database / (database / "CURRENT").read_text().strip()).read_bytes()
    except (OSError, UnicodeDecodeError):
        return False
    end = 0
    for record in wal.batches(data):
        end = record.end
    return bool(data) and end == len(data)
