"""`ls`: names in the order of their bytes, printed as they come."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import typer

from cloud_storage.commands import shown
from cloud_storage.commands.options import TIMEOUT_S, URL, Prefix, Timeout, TokenFile, Url, opened
from cloud_storage.commands.statuses import Ended, Status
from cloud_storage.records import Listed


def ls(
    prefix: Prefix = "",
    delimiter: Annotated[
        str, typer.Option(metavar="TEXT", help="Keys that hold it behind the prefix are told together.")
    ] = "",
    long: Annotated[bool, typer.Option("--long", "-l", help="With size, revision, modified and expires.")] = False,
    start_after: Annotated[str, typer.Option(metavar="NAME", help="Only names behind this one.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many.")] = None,
    null: Annotated[bool, typer.Option("--null", "-0", help="Names as they are, each ended by a NUL.")] = False,
    json: Annotated[bool, typer.Option("--json", help="An object of JSON on each line.")] = False,
    url: Url = URL,
    timeout: Timeout = TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """List keys in the order of their bytes. Names that could upset a terminal are quoted, but for --null and --json."""
    if [long, null, json].count(True) > 1:
        raise Ended(Status.USAGE, "say one of --long, --null and --json")
    with opened(url, timeout, token_file) as store:
        found = store.list(prefix, delimiter=delimiter, start_after=start_after)
        for line in _lines(islice(found, limit and min(limit, sys.maxsize)), long, null, json):
            sys.stdout.write(line)


def _lines(found: Iterator[Listed], long: bool, null: bool, json: bool) -> Iterator[str]:
    for each in found:
        if null:
            yield f"{each.name}\0"
        elif json:
            yield f"{shown.as_json(shown.listed(each))}\n"
        else:
            yield f"{_about(each) if long else ''}{shown.name(each.name)}\n"


def _about(each: Listed) -> str:
    if each.is_prefix:
        return f"{'-':>10} {'-':>8} {'-':24} {'-':24} "
    modified, expires = shown.moment(each.modified) or "-", shown.moment(each.expires) or "-"
    return f"{each.size:>10} {each.revision:>8} {modified:24} {expires:24} "
