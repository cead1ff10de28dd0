"""Files that are whole or not there, also where the power fails, and that one process writes at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cloud_storage.commands.statuses import Ended, Status


def is_stream(file: str) -> bool:
    """Whether what is written there, or read, is gone with that: a pipe with a name, or a device that has no blocks.

    Raises:
        Ended: it is no file at all.
    """
    if not file:
        raise Ended(Status.USAGE, "the file's name is empty")
    try:
        mode = Path(file).stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise Ended(Status.USAGE, f"{file} is a folder")
    if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode) and not stat.S_ISCHR(mode):
        raise Ended(Status.USAGE, f"{file} is no file that can be read or written from end to end")
    return not stat.S_ISREG(mode)


def meant(file: str) -> Path:
    """The file itself, where the name is one of a link. Raises Ended: there is no folder for it."""
    found = Path(os.path.realpath(file))
    if not found.parent.is_dir():
        raise Ended(Status.REFUSED, f"{found.parent} is no folder")
    return found


def beside(file: Path, ending: str) -> Path:
    """The file's name with more behind it."""
    return file.with_name(file.name + ending)


def lock(opened: IO[bytes], path: Path, what: str) -> None:
    """Until it is closed, or its process ends, it is this process's. what: others would be doing.

    Raises:
        Ended: it is another's, or has been moved away since it was opened.
    """
    another = Ended(Status.USAGE, f"{path} is being written: {what} is under way")
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise another from None
    except OSError:
        return  # a file system without locks
    try:
        same = os.path.samestat(os.fstat(opened.fileno()), path.stat())
    except FileNotFoundError:
        same = False
    if not same:
        raise another


@contextmanager
def named(file: Path) -> Iterator[None]:
    """An OSError of what is done here names the file, also that of a write, which is none of Python's."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(file)
        raise


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
    """Write a small file as a whole. Raises OSError, which names the file; it is as it was then."""
    new = beside(file, ".new")
    try:
        with named(file):
            with new.open("wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            move(new, file)
    except OSError as error:
        error.filename, error.filename2 = str(file), None
        with suppress(OSError):
            new.unlink()
        raise
