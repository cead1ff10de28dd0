"""A place in the feeds of all buckets, as a watch is told it and comes back with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from serve_app.changes import tag_of
from serve_app.errors import InvalidRequest
from serve_app.topology import MAX_BUCKET_COUNT, MAX_REVISION

_PART = re.compile(r"(\d{1,2})\.([0-9a-f]{8})\.(\d{1,19})(?:\.(\d{1,19}))?")
_STORE = re.compile(r"[0-9a-f]{8}")


class Position(NamedTuple):
    """A place in one bucket's feed: all is told up to this revision that the bucket had to tell since it `began` its part in
    the store, and nothing of an earlier part, before it left and came back; 0 where the watch began later than its part.
    tag: the beginning of its storage's identity: another storage counts anew."""

    tag: str
    revision: int
    began: int = 0


#: By bucket id.
Place = Mapping[int, Position]


def shown(store_id: str, place: Place) -> str:
    """A place as the id of an event: `<store>-<bucket>.<storage>.<revision>-…`, with `.<began>` where that is not 0."""
    parts = (
        f"{bucket}.{at.tag}.{at.revision}" + (f".{at.began}" if at.began else "")
        for bucket, at in sorted(place.items())
    )
    return "-".join([tag_of(store_id), *parts])


def parse(text: str) -> tuple[str, dict[int, Position]]:
    """The store's tag and the place that an id names.

    Raises:
        InvalidRequest: it is no id that this store gave.
    """
    store, *parts = text.split("-")
    matches = [_PART.fullmatch(part) for part in parts]
    found = {
        int(match[1]): Position(match[2], int(match[3]), int(match[4] or 0)) for match in matches if match is not None
    }
    sound = _STORE.fullmatch(store) and all(matches) and len(found) == len(parts) <= MAX_BUCKET_COUNT
    if not sound or any(max(at.revision, at.began) > MAX_REVISION for at in found.values()):
        raise InvalidRequest("Last-Event-ID is no id that a watch of this store has given")
    return store, found
