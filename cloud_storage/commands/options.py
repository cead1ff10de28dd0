"""The options that all commands share, and the store that they name."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cloud_storage.address import DEFAULT_TIMEOUT_S, DEFAULT_URL, URL_VARIABLE
from cloud_storage.commands.completion import complete_key
from cloud_storage.commands.statuses import Ended, Status
from cloud_storage.store import Store

Url = Annotated[str, typer.Option(envvar=URL_VARIABLE, help="Where the store answers.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="How long the store may take, with all attempts.")]
TokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Holds the token; else CLOUD_STORAGE_TOKEN is one, if set.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Key = Annotated[str, typer.Argument(autocompletion=complete_key, help="The key.", show_default=False)]
Prefix = Annotated[
    str, typer.Argument(autocompletion=complete_key, help="Only keys that begin with it.", show_default=False)
]

URL, TIMEOUT_S = DEFAULT_URL, DEFAULT_TIMEOUT_S
#: Of whoever looks at a terminal where nothing happens.
_PATIENCE_S = 1.0
#: In bytes; no header could be longer. More of an endless file is not read.
_LONGEST_TOKEN = 64 * 1024


def opened(url: str, timeout: float, token_file: Path | None) -> Store:
    """The store. Raises ValueError: the URL, the timeout or the token can't be meant; Ended: there is no such file."""
    return Store(url, token=token_in(token_file), timeout=timeout, on_retry=waiting())


def waiting() -> Callable[[str], None]:
    """Says once, at a terminal, what a command waits for that takes longer than it should."""
    started_s, said = time.monotonic(), False

    def tell(why: str) -> None:
        nonlocal said
        if not said and time.monotonic() - started_s > _PATIENCE_S and sys.stderr.isatty():
            said = True
            typer.echo(f"waiting for the store: {why}", err=True)

    return tell


def token_in(file: Path | None) -> str | None:
    """What a file holds; None where none is named. Raises Ended."""
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            held = opened.read(_LONGEST_TOKEN + 1)
        if len(held) > _LONGEST_TOKEN:
            raise Ended(Status.USAGE, f"the token's file {file} holds more than a token")
        return held.decode().strip()
    except OSError as error:
        raise Ended(Status.USAGE, f"the token's file {file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Ended(Status.USAGE, f"the token's file {file} holds no token") from None
