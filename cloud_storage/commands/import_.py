"""`import`: the records in a file. What is stored of it is written down beside it, so that it can go on from there."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import msgspec
import typer

from cloud_storage.commands import files
from cloud_storage.commands.options import TIMEOUT_S, URL, Timeout, TokenFile, Url, opened
from cloud_storage.commands.progress import progress
from cloud_storage.commands.statuses import Ended, Status
from cloud_storage.errors import StoreError
from cloud_storage.records import Imported
from cloud_storage.store import Store

_BLOCK = 1024 * 1024
_EXPORTED = b'{"exported":'


@dataclass(frozen=True)
class Done:
    """What is stored of a file. size: of the file; sha256: of its first `offset` bytes, which are stored."""

    size: int
    offset: int
    sha256: str
    records: int


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="From where; - is standard input.", show_default=False)],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an import of this file that broke off.")] = False,
    url: Url = URL,
    timeout: Timeout = TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Store the records that `export` wrote: types, times and expiry stay, revisions are new. What has expired is left out.

    What was stored stays where an import breaks off; FILE.progress says how far it was, until it is done.
    """
    once = file == "-" or files.is_stream(file)
    if once and resume:
        raise Ended(Status.USAGE, "what is read once can't be resumed: name a file")
    with opened(url, timeout, token_file) as store:
        if not once:
            imported, before = _of_file(store, Path(file), resume)
        elif file == "-":
            imported, before = _of_stream(store, sys.stdin.buffer), 0
        else:
            with files.named(Path(file)), Path(file).open("rb") as source:
                imported, before = _of_stream(store, source), 0
    earlier = f" after the {before:,} of before" if before else ""
    expired = f"; {imported.expired:,} had expired" if imported.expired else ""
    typer.echo(f"Imported {imported.imported:,} records{earlier}{expired}.", err=True)


def _of_stream(store: Store, source: IO[bytes]) -> Imported:
    """From standard input, or from a pipe with a name."""
    watched = Watched(source)
    with progress("Importing", None, in_bytes=True) as shown:
        imported = store.import_(watched, on_progress=lambda records, size: shown(size, f"{records:,} records"))
    watched.tell(imported, whole=True)
    return imported


def _of_file(store: Store, source: Path, resume: bool) -> tuple[Imported, int]:
    """What was imported now, and how many records before."""
    state = files.beside(source, ".progress")
    on = f"go on with `import {shlex.quote(str(source))} --resume`"
    with files.named(source), source.open("rb") as opened:
        files.lock(opened, source, "another import of it")
        size = os.fstat(opened.fileno()).st_size
        if not resume and state.exists():
            raise Ended(Status.USAGE, f"{state} is there, of an import that broke off: {on}, or remove it")
        done = read_state(state, size) if resume else Done(size, 0, "", 0)
        hashed = hashlib.sha256()
        _hash(opened, hashed, done.offset)
        if resume and hashed.hexdigest() != done.sha256:
            raise _another(state)
        watched, any_stored = Watched(opened), resume
        if not resume:  # before anything is stored it is known that this can be written
            files.write_synced(state, msgspec.json.encode(done))
        with source.open("rb") as again, progress("Importing", size, in_bytes=True) as shown:

            def tell(records: int, stored: int) -> None:
                nonlocal any_stored
                any_stored = True
                _hash(again, hashed, done.offset + stored - again.tell())
                now = Done(size, done.offset + stored, hashed.hexdigest(), done.records + records)
                files.write_synced(state, msgspec.json.encode(now))
                shown(now.offset, f"{now.records:,} records")

            again.seek(done.offset)
            try:
                imported = store.import_(watched, on_progress=tell)
            except (StoreError, OSError, KeyboardInterrupt):
                if any_stored:
                    typer.echo(f"What was stored stays: {on}.", err=True)
                else:
                    state.unlink()
                raise
        state.unlink()
    watched.tell(imported, whole=not resume)
    return imported, done.records


class Watched:
    """A file whose lines are read: does it end as an export does, and has it as many records as that says?"""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._last = b""
        #: As its last lines say: several exports may be one behind the other.
        self._exported = 0

    def __iter__(self) -> Iterator[bytes]:
        for line in self._file:
            if line.startswith(_EXPORTED):
                self._exported += _number_in(line)
            if not line.isspace():
                self._last = line
            yield line

    def tell(self, imported: Imported, *, whole: bool) -> None:
        """Say what is odd. whole: all of it was read now."""
        records = imported.imported + imported.expired
        if not self._last.startswith(_EXPORTED):
            told = 'the file does not end with {"exported": …}, as an export does: it may have been cut off'
        elif whole and self._exported != records:
            told = f"the file says that {self._exported:,} records were exported to it, and has {records:,}"
        else:
            return
        typer.echo(f"note: {told}.", err=True)


def _number_in(line: bytes) -> int:
    try:
        return msgspec.json.decode(line, type=dict[str, int])["exported"]
    except (ValueError, KeyError):
        return 0


def read_state(state: Path, size: int) -> Done:
    """How far an import was. Raises Ended: none broke off, or it was of another file."""
    unreadable = Ended(Status.USAGE, f"{state} can't be read: remove it to begin anew")
    try:
        done = msgspec.json.decode(state.read_bytes(), type=Done)
    except FileNotFoundError:
        raise Ended(Status.USAGE, f"{state} is not there: no import of this file broke off") from None
    except ValueError:
        raise unreadable from None
    if not 0 <= done.offset <= done.size or done.records < 0:
        raise unreadable
    if done.size != size:
        raise _another(state)
    return done


def _another(state: Path) -> Ended:
    return Ended(Status.USAGE, f"the file is another than the one that {state} is of: remove that to begin anew")


def _hash(file: IO[bytes], hashed: hashlib._Hash, count: int) -> None:
    """Read on and take it in."""
    while count > 0 and (some := file.read(min(count, _BLOCK))):
        hashed.update(some)
        count -= len(some)
