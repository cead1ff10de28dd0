"""A directory's links: one for each bucket that it has to do with, made when first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serve_app.wire.link import BucketLink, MakeLink

#: A bucket that the store goes on without has this long to answer what is under way.
_DRAIN_S = 2.0


class Links:
    """See the module."""

    def __init__(self, make_link: MakeLink, expected_identity: Callable[[int], str]) -> None:
        self._make_link = make_link
        self._expected_identity = expected_identity
        self._draining: set[asyncio.Task[None]] = set()
        self.by_id: dict[int, BucketLink] = {}

    def ensure(self, bucket_id: int) -> None:
        """See to it that there is a link."""
        if bucket_id not in self.by_id:
            self.by_id[bucket_id] = link = self._make_link(bucket_id, self._expected_identity)
            link.start()

    def let_go(self, bucket_id: int) -> None:
        """The store goes on without this bucket: a link would only bring it back."""
        link = self.by_id.pop(bucket_id)
        link.retire()
        task = asyncio.create_task(link.drain(_DRAIN_S))  # a write under way is about to be told that it has moved
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def stop(self) -> None:
        """Close all connections."""
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        for link in self.by_id.values():
            await link.stop()
