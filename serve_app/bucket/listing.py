"""A page of the bucket's records in the order of their names. In a reading thread.

Which records: while keys move, those that have always been this bucket's, or those that it has taken from others; the caller
asks every bucket for the former first and for the latter then. A record that moves in between is seen twice, never missed.
"""

from __future__ import annotations

from typing import NamedTuple

from serve_app import events, placement
from serve_app.bucket.reader import ReadBucket
from serve_app.errors import StorageFault
from serve_app.listed_names import name_of
from serve_app.operations.body import Answer
from serve_app.records import expires_ms, header
from serve_app.storage.engine import Engine
from serve_app.topology import Topology
from serve_app.wire.messages import Entry, List, Listed, Moved, Refused
from serve_app.wire.refusals import refused

#: What is read for one page, at most: other calls want the threads too.
_MAX_SCANNED = 20_000
_MAX_SCANNED_BYTES = 64 * 1024 * 1024
#: What one page holds: it leaves in one message, which a single value may nearly fill.
_MAX_PAGE_BYTES = 4 * 1024 * 1024
#: Above every byte of UTF-8.
_ABOVE = b"\xff"


class Page(NamedTuple):
    """What was found. expired: the keys of records that were left out because they had expired at `now_ms`."""

    answer: Answer
    expired: list[bytes]
    now_ms: int = 0


def page(bucket: ReadBucket, asked: List, epoch: int) -> Page:
    """A page as of one moment. epoch: of the topology that it is asked by. Never raises."""
    standing = bucket.served.standing
    topology = standing.topology
    if standing.fault:
        return Page(Refused("fault", standing.fault), [])
    if topology is None or topology.epoch != epoch:
        return Page(Moved(topology), [])
    try:
        found = _Finder(bucket, asked, topology).find()
    except StorageFault as error:
        bucket.note_error(error)
        return Page(refused(error), [])
    except Exception as error:
        events.error("list failed", exc_info=error, bucket=bucket.bucket_id)
        return Page(Refused("fault", "the bucket made a mistake; its log says more"), [])
    # In another topology others may have had to be asked for what has come or gone meanwhile.
    if bucket.served.standing.topology is not topology:
        return Page(Moved(bucket.served.standing.topology), [])
    return found


def still_expired(bucket: ReadBucket, found: Page) -> bool:
    """Whether some of the records that were left out are there as they were: their deletion is not durable. By the time of
    the page: they are not deleted where the clock has been set back meanwhile. Raises StorageFault."""
    records = bucket.engine.get_many(found.expired)
    return any(raw is not None and 0 < expires_ms(raw) <= found.now_ms for raw in records)


class _Finder:
    def __init__(self, bucket: ReadBucket, asked: List, topology: Topology) -> None:
        self._bucket, self._asked, self._topology = bucket, asked, topology
        self._now_ms = bucket.now_ms()
        self._entries: list[Entry] = []
        self._prefixes: list[bytes] = []
        self._expired: list[bytes] = []
        self._scanned = self._scanned_bytes = self._page_bytes = 0

    def find(self) -> Page:
        asked = self._asked
        end = asked.prefix + _ABOVE if asked.prefix else None
        start = max(asked.prefix, asked.start_after + b"\0") if asked.start_after else asked.prefix
        if asked.start_after and self._name_of(asked.start_after) == (asked.start_after, True):
            start = max(start, asked.start_after + _ABOVE)  # all of that name has been told
        next_start: bytes | None = start
        upto = b""
        while next_start is not None:
            upto, next_start = self._walk(self._bucket.engine, next_start, end, upto)
        return Page(Listed(self._entries, self._prefixes, upto), self._expired, self._now_ms)

    def _walk(self, engine: Engine, start: bytes, end: bytes | None, last: bytes) -> tuple[bytes, bytes | None]:
        """Look at records from `start` on: the name up to which all was seen, empty at the end, and where to go on, if so.
        last: the name up to which all was seen before."""
        for key, raw in engine.scan(start, end):
            if last and self._has_enough():
                return last, None
            self._scanned += 1
            self._scanned_bytes += len(raw)
            asked_for = self._is_asked_for(key)
            expired = asked_for and 0 < expires_ms(raw) <= self._now_ms
            name, rolled = self._name_of(key)
            if expired:
                self._expired.append(key)
            if expired or not asked_for:
                # Who goes on from a name that others have too goes on behind all of them: it is no place to stop untold.
                if not (rolled and name == key):
                    last = key
                continue
            if rolled:
                self._prefixes.append(name)
                self._page_bytes += len(name)
                if len(self._entries) + len(self._prefixes) >= self._asked.limit:
                    return name, None
                return name, name + _ABOVE
            if not self._add(key, raw):
                return last, None
            last = key
        return b"", None

    def _has_enough(self) -> bool:
        return (
            len(self._entries) + len(self._prefixes) + len(self._expired) >= self._asked.limit
            or self._scanned >= _MAX_SCANNED
            or self._scanned_bytes >= _MAX_SCANNED_BYTES
            or self._page_bytes >= _MAX_PAGE_BYTES
        )

    def _is_asked_for(self, key: bytes) -> bool:
        topology = self._topology
        if not topology.moving:
            return not self._asked.taken
        own = placement.bucket_of(key, topology.bucket_count) == self._bucket.bucket_id
        return own is not self._asked.taken

    def _name_of(self, key: bytes) -> tuple[bytes, bool]:
        return name_of(key, self._asked.prefix, self._asked.delimiter)

    def _add(self, key: bytes, raw: bytes) -> bool:
        """Whether there was room for it. For the first of a page there is."""
        known = header(raw)
        value = raw[len(raw) - known.size :] if self._asked.values else b""
        size = len(key) + len(known.content_type) + len(value)
        if self._page_bytes and self._page_bytes + size > _MAX_PAGE_BYTES:
            return False
        self._page_bytes += size
        self._entries.append(
            Entry(
                key,
                known.size,
                known.content_type,
                known.revision,
                known.created_ms,
                known.modified_ms,
                known.expires_ms,
                value,
            )
        )
        return True
