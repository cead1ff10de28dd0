"""A subscriber of each bucket's commits, which holds them against what the bucket's disk was given; and that each batch tells
in its feed of every change that is in it."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable

import msgspec

from serve_app.changes import Change
from serve_app.storage import feed
from serve_app.storage.commit import Commit
from serve_app.storage.engine import Changes
from serve_app.storage.facts import CURSOR, MARKERS, OF_STORAGE, TOTALS
from tests.simulation.disk import SimulatedDisk


def stored_sequence(disk: SimulatedDisk) -> int:
    """That of the last commit on the disk; looked at without the product's own reading."""
    sequence: int = struct.unpack(">QQQQQ", disk.get_fact(TOTALS) or b"")[3]
    return sequence


class Follower:
    """Follows one process of a bucket, from what its disk holds when it starts."""

    def __init__(self, name: str, disk: SimulatedDisk, fail: Callable[[str, str], None]) -> None:
        self._name, self._disk, self._fail = name, disk, fail
        #: What the disk has been given since, and nobody was told of yet: batches of records and of facts.
        self._untold: deque[tuple[Changes, Changes]] = deque()
        disk.applied = self._applied
        self.sequence = stored_sequence(disk)
        batches = disk.commits - 1  # the first made the disk: it is no commit
        if self.sequence != batches:
            self._wrong(f"starts at commit {self.sequence}, and its disk has taken {batches} batches")

    def _applied(self, records: Changes, facts: Changes) -> None:
        of_bucket = tuple(fact for fact in facts if not fact[0].startswith(OF_STORAGE))
        if not records and not of_bucket:
            return  # what the storage says for itself is no commit
        self._untold.append((tuple(records), of_bucket))
        names = [name for name, _ in facts]
        if CURSOR in names or MARKERS in names:
            return  # what moves is no change
        told = {
            change.key
            for name, raw in facts
            if name.startswith(feed.PREFIX) and raw is not None
            for change in msgspec.msgpack.decode(raw, type=list[Change])
        }
        if unheard := [key for key, _ in records if key not in told]:
            self._fail("feed", f"{self._name} changes {unheard}, and its feed does not tell of it")

    def take(self, commit: Commit) -> None:
        """What the bucket calls with each commit."""
        before, self.sequence = self.sequence, commit.sequence
        if commit.sequence != before + 1:
            self._wrong(f"hands on commit {commit.sequence} after {before}")
        elif not self._untold or stored_sequence(self._disk) < commit.sequence:
            self._wrong(f"hands on commit {commit.sequence}, which its disk does not have")
        elif self._untold.popleft() != (commit.records, commit.facts):
            self._wrong(f"hands on as commit {commit.sequence} what its disk was not given")

    def _wrong(self, what: str) -> None:
        self._fail("commits", f"{self._name} {what}")
