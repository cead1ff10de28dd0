"""Bugs in what happens where a bound is reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import msgspec

from serve_app import placement
from serve_app.bucket import calls, mover_access
from serve_app.bucket import survey as surveys
from serve_app.bucket.mover_access import MoverAccess
from serve_app.cursor import END
from serve_app.resharding.moving_bucket import Scanned
from serve_app.storage.group import Group
from serve_app.storage.writer import Writer
from serve_app.topology import Topology
from serve_app.wire import messages
from tests.simulation.mutations import AVAILABLE, DISKS, HISTORY, VERIFY, WHOLE, Mutation


@contextmanager
def the_rest_of_a_group_cut_short_is_dropped() -> Iterator[None]:
    """A group whose answers grew too large is taken off the queue whole, with what was not decided."""

    def deciding(self: Writer) -> Group:
        writes = self._first_of_backlog()
        group = self._committer.decide(writes)
        del self._backlog[: len(writes)]
        return group

    with patch.object(Writer, "_decide_next", deciding):
        yield


@contextmanager
def a_scan_that_has_read_enough_skips_the_rest() -> Iterator[None]:
    """Where records that stay are many bytes, the scan of a window ends early, and says that it has seen all."""

    def scanning(self: MoverAccess, topology: Topology, start: bytes, end: bytes, max_bytes: int) -> Scanned:
        records: list[tuple[bytes, bytes]] = []
        size = seen = 0
        for key, raw in self._bucket.engine.scan(start, None if end == END else end):
            if size >= max_bytes:
                return Scanned(records, [], key)
            if seen >= mover_access._MAX_SCANNED_BYTES:
                break
            seen += len(raw)
            hashed = placement.stable_hash(key)
            if hashed % topology.bucket_count == self.bucket_id != hashed % topology.target_count:
                records.append((key, raw))
                size += len(key) + len(raw)
        return Scanned(records, [], end)

    with patch.object(MoverAccess, "_scan", scanning):
        yield


@contextmanager
def a_page_that_is_full_is_the_last() -> Iterator[None]:
    """A bucket that has looked at enough bytes for one page of `verify` does not say that there are more."""

    def surveying(*args: Any) -> Any:
        page = survey(*args)
        if isinstance(page, messages.Surveyed) and page.keys < surveys._RECORDS_AT_ONCE:
            return msgspec.structs.replace(page, next_start=b"")
        return page

    survey = surveys.survey
    with patch.object(calls, "survey", surveying):
        yield


MUTATIONS = [
    Mutation(
        "the rest of a group cut short is dropped", 150, WHOLE | AVAILABLE, the_rest_of_a_group_cut_short_is_dropped
    ),
    Mutation(
        "a scan that has read enough skips the rest", 200, HISTORY | DISKS, a_scan_that_has_read_enough_skips_the_rest
    ),
    Mutation("a page that is full is the last", 30, VERIFY, a_page_that_is_full_is_the_last),
]
