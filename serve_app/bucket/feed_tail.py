"""The bucket's feed as it is read: the newest changes from memory, older ones from the disk, those to come as they come.

On the bucket's loop. Whoever asks gets what comes after a place; nobody is remembered between two questions, so a reader that
does not ask costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from serve_app import events
from serve_app.changes import Change
from serve_app.errors import StorageFault
from serve_app.operations.body import Answer
from serve_app.storage.commit import Commit
from serve_app.storage.engine import Engine
from serve_app.storage.extent import EXTENT, Extent, read_extent
from serve_app.storage.facts import Totals
from serve_app.storage.feed import read_changes
from serve_app.wire.messages import MAX_CHANGES, Changed, Changes, Refused
from serve_app.wire.refusals import refused

#: Kept in memory, about: what readers that keep up ask for.
_IN_MEMORY = 4096
#: Bytes of keys in one answer.
_MAX_BYTES = 1024 * 1024
#: Readers that may wait at once.
_MAX_WAITING = 4096


class FeedBucket(Protocol):
    """What of the bucket is needed here."""

    bucket_id: int
    identity: str

    @property
    def engine(self) -> Engine: ...

    @property
    def totals(self) -> Totals: ...

    def note_error(self, error: StorageFault) -> None: ...


class FeedTail:
    """See the module."""

    def __init__(self, bucket: FeedBucket, loop: asyncio.AbstractEventLoop, extent: Extent) -> None:
        """extent: of the feed on the disk."""
        self._bucket, self._loop = bucket, loop
        self._extent = extent
        #: The last changes, and the place they begin after.
        self._recent: deque[Change] = deque()
        self._after = self._upto = bucket.totals.revision
        self._waiting: dict[Callable[[], None], asyncio.TimerHandle] = {}

    def heard(self, commit: Commit) -> None:
        """It is durable: those who wait for changes get them."""
        for name, raw in commit.facts:
            if name == EXTENT:
                self._extent = read_extent(raw, "the commit")
        if commit.revision == self._upto:
            return
        self._upto = commit.revision
        self._recent.extend(commit.changes)
        while len(self._recent) > _IN_MEMORY:
            self._after = self._recent.popleft().revision
        waiting, self._waiting = self._waiting, {}
        for wake, timer in waiting.items():
            timer.cancel()
            wake()

    def recent(self, asked: Changes) -> Changed | None:
        """The answer from memory; None where the disk has to be asked (`read`)."""
        if asked.after < self._after and asked.after >= self._extent.since:
            return None
        return self._answer(self._newest(asked.after), self._upto)

    def wait(self, asked: Changes, wake: Callable[[], None]) -> bool:
        """Have `wake` called when there are changes, or the time has passed; whether there is room to wait."""
        if len(self._waiting) >= _MAX_WAITING:
            return False

        def enough() -> None:
            self._waiting.pop(wake, None)
            wake()

        self._waiting[wake] = self._loop.call_later(asked.wait_ms / 1000, enough)
        return True

    def stop(self) -> None:
        """Nobody is woken any more."""
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()

    def read(self, asked: Changes, upto: int) -> Answer:
        """The answer from the disk, with what is there up to the place `upto`, which was handed over: who asks for what comes
        after a later one seems to know what was lost. In a reading thread; never raises."""
        found: list[Change] = []
        size = 0
        try:
            for changes in read_changes(self._bucket.engine, asked.after, upto):
                new = [change for change in changes if change.revision > asked.after]
                found += new
                size += sum(len(change.key) for change in new)
                if len(found) >= MAX_CHANGES or size >= _MAX_BYTES:
                    upto = found[-1].revision
                    break
            # Looked at last: what was deleted from its beginning meanwhile is missing.
            extent = read_extent(self._bucket.engine.get_fact(EXTENT), "the bucket")
        except StorageFault as error:
            self._bucket.note_error(error)
            return refused(error)
        except Exception as error:
            events.error("feed not read", exc_info=error, bucket=self._bucket.bucket_id)
            return Refused("fault", "the bucket made a mistake; its log says more")
        return Changed(found, extent.since, upto, self._bucket.identity, extent.began)

    @property
    def upto(self) -> int:
        """The last revision that is durable and was handed over."""
        return self._upto

    def _newest(self, after: int) -> list[Change]:
        """What of memory may be after a place. Readers keep up: few are looked at."""
        some: list[Change] = []
        for change in reversed(self._recent):
            if change.revision <= after:
                break
            some.append(change)
        some.reverse()
        return some[:MAX_CHANGES]

    def _answer(self, changes: list[Change], upto: int) -> Changed:
        if len(changes) >= MAX_CHANGES:
            upto = changes[-1].revision
        return Changed(changes, self._extent.since, upto, self._bucket.identity, self._extent.began)
