"""Files that are whole or not there, also where the power fails."""

from __future__ import annotations

import os
from pathlib import Path


def beside(file: Path, ending: str) -> Path:
    """The file's name with more behind it."""
    return file.with_name(file.name + ending)


def move(source: Path, target: Path) -> None:
    """Put a synced file in the place of another, in one step. Raises OSError."""
    source.replace(target)
    sync_folder(target)


def sync_folder(file: Path) -> None:
    """Make what happened to the file's name durable. Raises OSError."""
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_synced(file: Path, content: bytes) -> None:
    """Write a small file as a whole. Raises OSError."""
    new = beside(file, ".new")
    with new.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    move(new, file)
