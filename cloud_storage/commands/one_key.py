"""`get`, `put`, `create`, `delete`, `touch` and `increment`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cloud_storage.commands import files, shown, values
from cloud_storage.commands.completion import complete_key
from cloud_storage.commands.options import TIMEOUT_S, URL, Json, Key, Timeout, TokenFile, Url, opened
from cloud_storage.commands.statuses import Ended, Status, complain
from cloud_storage.records import Written

_NO_KEY = "no record has the key "
ValueArgument = Annotated[
    str | None, typer.Argument(metavar="[VALUE]", help="The value; - or nothing: standard input.", show_default=False)
]
ValueFile = Annotated[Path | None, typer.Option("--file", "-f", metavar="FILE", help="The value is in this file.")]
ContentType = Annotated[
    str | None, typer.Option(metavar="TYPE", help="Kept with the value; else text/plain where it is UTF-8.")
]
Ttl = Annotated[str | None, typer.Option(metavar="DURATION", help="Expires after this: 30s, 5m, 2h, 7d, or seconds.")]
ExpiresAt = Annotated[
    str | None, typer.Option(metavar="MOMENT", help="Expires then: 2027-01-01T12:00:00Z, or seconds since 1970.")
]
IfRevision = Annotated[int | None, typer.Option(metavar="N", help="Only where the record has this revision.")]


def get(
    key: Key,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there, not to standard output.")
    ] = None,
    json: Json = False,
    url: Url = URL,
    timeout: Timeout = TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Write a value to standard output, byte for byte. The status is 1 where there is no such key."""
    with opened(url, timeout, token_file) as store:
        found = store.get(key)
    if found is None:
        raise Ended(Status.NO, _NO_KEY + shown.quoted(key))
    told = f"{shown.as_json(shown.record(found))}\n".encode() if json else found.value
    if output is not None:
        with files.named(output):
            output.write_bytes(told)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(told)
    sys.stdout.buffer.flush()


def put(
    key: Key,
    value: ValueArgument = None,
    file: ValueFile = None,
    content_type: ContentType = None,
    ttl: Ttl = None,
    expires_at: ExpiresAt = None,
    if_revision: IfRevision = None,
    json: Json = False,
    url: Url = URL,
    timeout: Timeout = TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Store a value: the argument, a --file, or standard input. When this ends it is on disk."""
    stored, kept = _stored(value, file, content_type, ttl, expires_at)
    with opened(url, timeout, token_file) as store:
        if if_revision is None:
            _tell(key, store.put(key, stored, **kept), json)
        else:
            _tell(key, store.replace(key, stored, if_revision, **kept), json)


def create(
    key: Key,
    value: ValueArgument = None,
    file: ValueFile = None,
    content_type: ContentType = None,
    ttl: Ttl = None,
    expires_at: ExpiresAt = None,
    json: Json = False,
    url: Url = URL,
    timeout: Timeout = TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Store a value where there is none. The status is 3 where there is one."""
    stored, kept = _stored(value, file, content_type, ttl, expires_at)
    with opened(url, timeout, token_file) as store:
        _tell(key, store.create(key, stored, **kept), json)


def _stored(
    value: str | None, file: Path | None, content_type: str | None, ttl: str | None, expires_at: str | None
) -> tuple[bytes, dict[str, Any]]:
    """The value that is typed, and what is kept with it, as a put's options."""
    stored = values.value_of(value, file)
    kept = {"content_type": content_type or values.type_of(stored)}
    return stored, {**kept, "ttl": values.seconds(ttl), "expires_at": values.moment(expires_at)}


def _tell(key: str, written: Written, json: bool) -> None:
    if json:
        typer.echo(shown.as_json({"key": key, "revision": written.revision, "created": written.created}))


def delete(
    keys: Annotated[
        list[str], typer.Argument(metavar="KEY...", autocompletion=complete_key, help="The keys.", show_default=False)
    ],
    if_revision: IfRevision = None,
    url: Url = URL,
    timeout: Timeout = TIMEOUT_S,
    token_file: TokenFile = None,
) -> int:
    """Delete keys. The status is 1 where one of them is not there; the others are deleted."""
    if if_revision is not None and len(keys) != 1:
        raise Ended(Status.USAGE, "--if-revision is for one key")
    with opened(url, timeout, token_file) as store:
        if len(keys) == 1:
            if not store.delete(keys[0], revision=if_revision):
                raise Ended(Status.NO, _NO_KEY + shown.quoted(keys[0]))
            return Status.DONE
        wanted = len(set(keys))
        there = store.delete_many(keys)
    if there < wanted:
        complain(f"{wanted - there:,} of the {wanted:,} keys were not there; the others are deleted")
        return Status.NO
    return Status.DONE


def touch(
    key: Key,
    ttl: Ttl = None,
    expires_at: ExpiresAt = None,
    persist: Annotated[bool, typer.Option("--persist", help="Never expires.")] = False,
    url: Url = URL,
    timeout: Timeout = TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Have a record expire at another time, or never. The status is 1 where there is no such key."""
    if [ttl is not None, expires_at is not None, persist].count(True) != 1:
        raise Ended(Status.USAGE, "say one of --ttl, --expires-at and --persist")
    with opened(url, timeout, token_file) as store:
        there = store.touch(key, ttl=values.seconds(ttl), expires_at=values.moment(expires_at))
    if not there:
        raise Ended(Status.NO, _NO_KEY + shown.quoted(key))


def increment(
    key: Key,
    by: Annotated[int, typer.Argument(help="What is added; it may be negative.")] = 1,
    ttl: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Of a record that is made by this: 30s, 5m, 2h, 7d.")
    ] = None,
    json: Json = False,
    url: Url = URL,
    timeout: Timeout = TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Add to a number and print what it is then. A key that is not there counts from 0."""
    with opened(url, timeout, token_file) as store:
        number = store.increment(key, by, ttl=values.seconds(ttl))
    typer.echo(shown.as_json({"key": key, "value": number}) if json else str(number))
