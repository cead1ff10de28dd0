"""The tokens file where it lies: read as the store reads it, and exchanged as a whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from serve_app.auth.tokens_file import MAX_FILE_BYTES, BadTokens, TokenLine, parse
from serve_app.command_output.failure import Failure


def read(path: Path) -> tuple[TokenLine, ...]:
    """The tokens that it names. Raises Failure where a store could not read them."""
    with _sentences(path):
        return parse(_text(path))


def edit(path: Path, change: Callable[[bytes], bytes], must_exist: bool = False) -> None:
    """Exchange the file for a changed one: whoever reads it meanwhile sees the one or the other. Edits wait for each other.

    Raises:
        Failure: the change can't be made; the file is as it was.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    with _sentences(path), _alone_in(path.parent):
        before = None
        text = b""
        with contextlib.nullcontext() if must_exist else contextlib.suppress(FileNotFoundError):
            before, text = path.stat(), _text(path)
        _exchange(path, change(text), before)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(path: Path, text: bytes, before: os.stat_result | None) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # for its owner's eyes alone
    try:
        with os.fdopen(handle, "wb") as file:
            if before is not None:
                with contextlib.suppress(PermissionError):  # the store's user goes on reading what root edits
                    os.fchown(handle, before.st_uid, before.st_gid)
                os.fchmod(handle, before.st_mode & 0o777)
            file.write(text)
            file.flush()
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _text(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would wait for a writer
        raise BadTokens("it is no file")
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


@contextlib.contextmanager
def _sentences(path: Path) -> Iterator[None]:
    try:
        yield
    except BadTokens as error:
        raise Failure(f"the tokens file {path}: {error}") from None
    except OSError as error:
        raise Failure(f"the tokens file {path} can't be used: {error.strerror}") from None
