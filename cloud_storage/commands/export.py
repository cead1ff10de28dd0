"""`export`: all records into a file, which appears when it is whole. One that broke off goes on where it was."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import IO, Annotated

import msgspec
import typer

from cloud_storage.commands import files
from cloud_storage.commands.completion import complete_key
from cloud_storage.commands.options import TIMEOUT_S, URL, Timeout, TokenFile, Url, opened
from cloud_storage.commands.progress import progress
from cloud_storage.commands.statuses import Ended, Status
from cloud_storage.errors import StoreError
from cloud_storage.store import Store


def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to; - is standard output.", show_default=False)],
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", autocompletion=complete_key, help="Only keys that begin with it.")
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an export to this file that broke off.")] = False,
    url: Url = URL,
    timeout: Timeout = TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Write all records to a file, one line of JSON each, in the order of their keys.

    Until it is whole it is called FILE.part, and FILE stays as it was. It is no picture of one moment: a record that comes or
    goes meanwhile may be in it or not.
    """
    if file != "-" and not files.is_stream(file):
        target = files.meant(file)
        with opened(url, timeout, token_file) as store:
            records = _to_file(store, target, prefix, resume)
        typer.echo(f"Exported {records:,} records to {file}.", err=True)
        return
    if resume:
        raise Ended(Status.USAGE, "what is written once can't be resumed: name a file")
    with opened(url, timeout, token_file) as store:
        if file == "-":
            _to(store, sys.stdout.buffer, prefix, "", 0, show=not sys.stdout.isatty())
            return
        with files.named(Path(file)), Path(file).open("wb") as stream:
            _to(store, stream, prefix, "", 0)


def _to_file(store: Store, target: Path, prefix: str, resume: bool) -> int:
    """How many records the file has then."""
    part, about = files.beside(target, ".part"), files.beside(target, ".part.prefix")
    of_these = f" --prefix {shlex.quote(prefix)}" if prefix else ""
    on = f"go on with `export {shlex.quote(str(target))}{of_these} --resume`"
    wanted = prefix.encode()
    with _opened(part, resume) as opened:
        files.lock(opened, part, "another export to it")
        if part.stat().st_size and not resume:
            raise Ended(Status.USAGE, f"{part} is there, of an export that broke off: {on}, or remove it")
        if resume and (not about.exists() or about.read_bytes() != wanted):
            raise Ended(Status.USAGE, f"{part} is an export with another --prefix")
        files.write_synced(about, wanted)
        done, last = whole_lines(opened, prefix) if resume else (0, "")
        if resume:
            typer.echo(f"Going on behind {done:,} records: what has changed before them since is not seen.", err=True)
        try:
            with files.named(part):
                records = done + _to(store, opened, prefix, last, done)
        except (StoreError, OSError, KeyboardInterrupt):
            if opened.tell():
                typer.echo(f"It is not whole: {on}.", err=True)
            else:  # it has not even begun
                part.unlink()
                about.unlink()
            raise
        with files.named(part):
            if resume:  # its last line has counted what came since
                whole_lines(opened, prefix)
                opened.write(b'{"exported":%d}\n' % records)
            opened.flush()
            os.fsync(opened.fileno())
        files.move(part, target)
    about.unlink()
    return records


def _opened(part: Path, resume: bool) -> IO[bytes]:
    """To be read and written, and made where it is not there, unless one is to be gone on with."""
    if resume and not part.exists():
        raise Ended(Status.USAGE, f"{part} is not there: no export broke off")
    return os.fdopen(os.open(part, os.O_RDWR | (0 if resume else os.O_CREAT), 0o666), "r+b")


def _to(store: Store, file: IO[bytes], prefix: str, start_after: str, before: int, *, show: bool = True) -> int:
    with progress("Exporting", None, in_bytes=True) as shown:

        def tell(records: int, size: int) -> None:
            shown(size, f"{before + records:,} records")

        written = store.export(file, prefix, start_after=start_after, on_progress=tell if show else None)
        file.flush()
        return written


class _Line(msgspec.Struct):
    """What of a line is looked at."""

    key: str


_decode = msgspec.json.Decoder(_Line).decode


def whole_lines(file: IO[bytes], prefix: str) -> tuple[int, str]:
    """Cut a file off behind the last record that is whole; how many there are, and the key of that one. What an export can
    not have written is cut off too."""
    count, end, last = 0, 0, ""
    file.seek(0)
    for line in file:
        try:
            key = _decode(line).key
        except ValueError:  # msgspec's errors, and those of text, are ValueErrors
            break
        in_order = not count or key.encode() > last.encode()
        if not line.endswith(b"\n") or not key.startswith(prefix) or not in_order:
            break
        count, end, last = count + 1, end + len(line), key
    file.truncate(end)
    file.seek(end)
    return count, last
