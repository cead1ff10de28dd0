"""`watch`: changes as they happen, a line each."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cloud_storage.commands import shown
from cloud_storage.commands.options import TIMEOUT_S, URL, Prefix, Timeout, TokenFile, Url, opened
from cloud_storage.records import Event


def watch(
    prefix: Prefix = "",
    values: Annotated[bool, typer.Option("--values", help="With the values that are put.")] = False,
    since: Annotated[
        str, typer.Option(metavar="ID", help="Go on after the event with this id (--json shows it).")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="An object of JSON on each line.")] = False,
    url: Url = URL,
    timeout: Timeout = TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Print what changes, from now on, until Ctrl-C: put, delete or expire, the revision and the key."""
    with opened(url, timeout, token_file) as store:
        for event in store.watch(prefix, values=values, since=since):
            sys.stdout.write(f"{shown.as_json(shown.event(event)) if json else _line(event)}\n")
            sys.stdout.flush()  # whoever reads this waits for it


def _line(event: Event) -> str:
    line = f"{event.kind:6} {event.revision:>8} {shown.name(event.key)}"
    if event.value is None:
        return line
    told = shown.value(event.value)
    return f"{line} {shown.quoted(told['value']) if 'value' in told else 'base64:' + told['value_base64']}"
