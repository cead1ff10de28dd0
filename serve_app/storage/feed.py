"""The feed: a bucket's last changes on disk, in order, written in the same batches. Watches are told from it.

    bucket.changes/ + u64, the revision of the last change in it, big-endian   →  msgpack of a commit's changes
    bucket.feed                                                               →  what is kept (`extent.py`)

A place in the feed is a revision: every change has one of its own, and they rise. Only the newest changes are kept, a number
that is a setting. What is too old is deleted in steps, so that one commit in many has the work: a milestone is noted every so
many changes, and the oldest one goes, with all before it, when there are too many.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from serve_app.changes import Change
from serve_app.errors import StorageDamaged, StorageFault
from serve_app.storage.engine import Engine
from serve_app.storage.extent import Extent, extent_fact

PREFIX = b"bucket.changes/"
#: The parts that the kept changes are deleted in.
_STEPS = 50


_changes_decoder = msgspec.msgpack.Decoder(list[Change])
_encode = msgspec.msgpack.Encoder().encode


def name_of(revision: int) -> bytes:
    """The name of the changes that end with this revision."""
    return PREFIX + revision.to_bytes(8, "big")


def read_changes(engine: Engine, after: int, upto: int | None = None) -> Iterable[list[Change]]:
    """The changes of each commit that has some after a place, in order; those before it may be among the first ones.

    upto: no commits that end after this one. Raises StorageDamaged.
    """
    end = PREFIX + b"\xff" if upto is None else name_of(upto + 1)
    for _, raw in engine.scan_facts(name_of(after + 1), end):
        try:
            yield _changes_decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            raise StorageDamaged(f"stored changes can't be read: {error}") from error


class FeedLog:
    """What the writer adds to the feed, and takes off its end."""

    def __init__(self, engine: Engine, extent: Extent, keep: int) -> None:
        """keep: how many changes at least, where there were as many."""
        self._engine = engine
        self._step = max(1, keep // _STEPS)
        self._most = -(-keep // self._step)
        self.extent = extent
        last = extent.milestones[-1] if extent.milestones else extent.since
        #: Changes since the last milestone.
        try:
            self._since_last = sum(map(len, read_changes(engine, last)))
        except StorageFault:
            self._since_last = self._step  # whoever asks for them is told; the bucket serves its records meanwhile

    def append(self, changes: list[Change]) -> list[tuple[bytes, bytes | None]]:
        """The facts to be written with these changes, of which there is one."""
        last = changes[-1].revision
        facts: list[tuple[bytes, bytes | None]] = [(name_of(last), _encode(changes))]
        self._since_last += len(changes)
        if self._since_last >= self._step:
            self._since_last = 0
            facts += self._pass_milestone(last)
        return facts

    def begin_after(self, revision: int, began: int) -> list[tuple[bytes, bytes | None]]:
        """What was before is told no more: the facts that say so. began: as in `Extent`. Raises StorageDamaged."""
        old = self._engine.scan_facts(PREFIX, name_of(revision + 1))
        forgotten: list[tuple[bytes, bytes | None]] = [(name, None) for name, _ in old]
        self.extent = Extent(revision, began=began)
        self._since_last = 0
        return [*forgotten, extent_fact(self.extent)]

    def _pass_milestone(self, revision: int) -> list[tuple[bytes, bytes | None]]:
        milestones = (*self.extent.milestones, revision)
        dropped: list[tuple[bytes, bytes | None]] = []
        since = self.extent.since
        too_many = len(milestones) - (self._most + 1)
        if too_many > 0:
            begin = milestones[too_many - 1]
            try:
                old = self._engine.scan_facts(name_of(since + 1), name_of(begin + 1))
                dropped = [(name, None) for name, _ in old]
                since, milestones = begin, milestones[too_many:]
            except StorageFault:
                pass  # it is tried again with the next milestone, and harms nobody meanwhile
        self.extent = Extent(since, milestones, self.extent.began)
        return [*dropped, extent_fact(self.extent)]
