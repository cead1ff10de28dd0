"""A place in the feeds of all buckets, as a watch is told it and comes back with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from serve_app.changes import tag_of
from serve_app.errors import InvalidRequest
from serve_app.topology import MAX_BUCKET_COUNT, MAX_REVISION

_PART = re.compile(r"(\d{1,2})\.([0-9a-f]{8})\.(\d{1,19})")
_STORE = re.compile(r"[0-9a-f]{8}")


class Position(NamedTuple):
    """A place in one bucket's feed. tag: the beginning of its storage's identity: another storage counts anew."""

    tag: str
    revision: int


#: By bucket id.
Place = Mapping[int, Position]


def shown(store_id: str, place: Place) -> str:
    """A place as the id of an event: `<store>-<bucket>.<storage>.<revision>-…`."""
    return "-".join([tag_of(store_id), *(f"{bucket}.{at.tag}.{at.revision}" for bucket, at in sorted(place.items()))])


def parse(text: str) -> tuple[str, dict[int, Position]]:
    """The store's tag and the place that an id names.

    Raises:
        InvalidRequest: it is no id that this store gave.
    """
    store, *parts = text.split("-")
    matches = [_PART.fullmatch(part) for part in parts]
    found = {int(match[1]): Position(match[2], int(match[3])) for match in matches if match is not None}
    sound = _STORE.fullmatch(store) and all(matches) and len(found) == len(parts) <= MAX_BUCKET_COUNT
    if not sound or any(at.revision > MAX_REVISION for at in found.values()):
        raise InvalidRequest("Last-Event-ID is no id that a watch of this store has given")
    return store, found
