"""Lists: names in the order of their bytes, page by page."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from cloud_storage import calls
from cloud_storage.exchange import Call, Request, Response
from cloud_storage.records import Listed

#: Names of a page; with values fewer, for a page is held whole.
PAGE, PAGE_WITH_VALUES = 1000, 200


class Page(NamedTuple):
    """names: keys and common prefixes, in order. next: what the page that follows starts after; None at the end."""

    names: list[Listed]
    next: str | None


def page(prefix: str, start_after: str, delimiter: str, values: bool) -> Call[Page]:
    asked = {"prefix": prefix, "start_after": start_after, "delimiter": delimiter}
    query = {name: text for name, text in asked.items() if text}
    query["limit"] = str(PAGE_WITH_VALUES if values else PAGE)
    if values:
        query["values"] = "true"
    return Call(Request("GET", calls.target("/v1/keys", query)), calls.else_raise({200}, _read))


def _read(response: Response) -> Page:
    answer = json.loads(response.body)
    return Page(in_order(_names(answer)), answer["next"])


def in_order(names: Iterable[Listed]) -> list[Listed]:
    """Keys and common prefixes together, by their bytes."""
    return sorted(names, key=lambda listed: listed.name.encode())


def _names(answer: dict[str, Any]) -> Iterator[Listed]:
    for name in answer["common_prefixes"]:
        yield Listed(name, is_prefix=True)
    for entry in answer["keys"]:
        yield Listed(
            entry["key"],
            False,
            entry["revision"],
            entry["size"],
            entry["content_type"],
            calls.moment(entry["modified"]),
            calls.moment(entry["expires"]),
            value_in(entry),
        )


def value_in(entry: dict[str, Any]) -> bytes | None:
    """The value that an object of JSON holds, if any."""
    if "value" in entry:
        return str(entry["value"]).encode()
    return base64.b64decode(entry["value_base64"]) if "value_base64" in entry else None
