"""Keys for a shell that completes a word: of the store that the environment or the words before name."""

from __future__ import annotations

import os
import shlex
from itertools import islice

import typer

from cloud_storage.store import Store

#: A page of a list has more; nobody reads so many.
MOST = 200
#: A shell waits for this.
TIMEOUT_S = 1.0


def complete_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """Keys that begin with what is typed. None where the store can't say: a prompt is no place for errors."""
    try:
        with Store(ctx.params.get("url") or None, token=_token(ctx), timeout=TIMEOUT_S) as store:
            return [found.name for found in islice(store.list(incomplete), MOST) if _is_one_word(found.name)]
    except Exception:
        return []


def _token(ctx: typer.Context) -> str | None:
    file = ctx.params.get("token_file")
    if file is None:
        return None
    with open(os.fspath(file)) as opened:  # noqa: PTH123 - Typer has made no Path of it yet
        return opened.read().strip()


def _is_one_word(name: str) -> bool:
    """Whether a shell takes it for one word as it stands: it is inserted unquoted."""
    return shlex.quote(name) == name
