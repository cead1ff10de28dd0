"""What a directory knows of the store: the topology, the links that it implies, and what each bucket last said of itself.

Nothing here asks anybody: `polling.py` does, and has what it hears adopted here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from serve_app import events, placement
from serve_app.directory.links import Links
from serve_app.errors import Unavailable
from serve_app.topology import Topology, expected_identity, newest
from serve_app.wire.link import BucketLink, MakeLink
from serve_app.wire.messages import Moved, Status


class StoreView:
    """See the module. All of it is in memory, and on the directory's loop."""

    def __init__(self, make_link: MakeLink, max_waiting: int, what_is_missing: Callable[[], str]) -> None:
        """max_waiting: operations that may wait for the topology. what_is_missing: why it is not known, for people."""
        self._max_waiting = max_waiting
        self._what_is_missing = what_is_missing
        self._waiting = 0
        self._known = asyncio.Event()
        self._links = Links(make_link, self._expected_identity)
        self.topology: Topology | None = None
        #: While keys move, by old home: its keys below this have moved. It only advances, so it never goes stale.
        self.cursors: dict[int, bytes] = {}
        self.statuses: dict[int, Status] = {}
        #: Called when another topology was adopted.
        self.on_adopted: list[Callable[[], None]] = []

    async def stop(self) -> None:
        """Close all connections."""
        await self._links.stop()

    def link(self, bucket_id: int) -> BucketLink:
        """The link to a bucket of the topology."""
        return self._links.by_id[bucket_id]

    @property
    def links(self) -> dict[int, BucketLink]:
        """All links there are, by bucket id."""
        return self._links.by_id

    def ensure_links(self, bucket_ids: range | set[int]) -> None:
        """Connect to these buckets, and stay connected."""
        for bucket_id in bucket_ids:
            self._links.ensure(bucket_id)

    async def wait_for_topology(self, deadline_s: float) -> Topology:
        """The topology, waited for until the deadline (on the loop's clock).

        Raises:
            Unavailable: it is not known by then.
        """
        if self._waiting >= self._max_waiting:
            raise Unavailable(f"the store is not up yet, and many wait for it already: {self._what_is_missing()}")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._known.wait()
        except TimeoutError:
            raise Unavailable(f"the store is not up yet: {self._what_is_missing()}") from None
        finally:
            self._waiting -= 1
        assert self.topology is not None
        return self.topology

    def home_of(self, key: bytes, topology: Topology) -> tuple[int, int, str]:
        """The key's home as far as is known, the epoch of the claim that it has moved there (else 0), and its digest."""
        home, digest = placement.place(key, topology.bucket_count)
        return (*self._moved_from(home, key, topology), digest) if topology.moving else (home, 0, digest)

    def homes_of(self, keys: Sequence[bytes], topology: Topology) -> list[tuple[int, int]]:
        """As `home_of` for each of many keys, without the digests."""
        homes = placement.buckets_of(keys, topology.bucket_count)
        if topology.moving:
            return [self._moved_from(home, key, topology) for home, key in zip(homes, keys, strict=True)]
        return [(home, 0) for home in homes]

    def _moved_from(self, home: int, key: bytes, topology: Topology) -> tuple[int, int]:
        if key < self.cursors.get(home, b""):
            new_home = placement.bucket_of(key, topology.target_count)
            if new_home != home:
                return new_home, topology.epoch
        return home, 0

    def learn(self, bucket_id: int, moved: Moved) -> bool:
        """Learn from an old home how far its keys have moved; whether that is why it does not serve the key."""
        if moved.topology is None or not moved.cursor or moved.topology != self.topology:
            return False
        self.cursors[bucket_id] = max(moved.cursor, self.cursors.get(bucket_id, b""))
        return True

    def adopt(self, *candidates: Topology | None) -> None:
        """Go by the newest topology of this store, if one of these is newer."""
        ours = self.topology
        if ours is not None:
            candidates = tuple(new for new in candidates if new is not None and new.store_id == ours.store_id)
        best = newest(ours, *candidates)
        if best is None or (ours is not None and best.epoch == ours.epoch):
            return
        self.topology = best
        self.cursors = {}
        self.ensure_links(range(len(best.identities)))
        for bucket_id in [bucket_id for bucket_id in self.links if bucket_id >= len(best.identities)]:
            self._links.let_go(bucket_id)
            self.statuses.pop(bucket_id, None)
        self._known.set()
        for link in self.links.values():
            link.check_identity()
        for tell in self.on_adopted:
            tell()
        events.info("topology known", epoch=best.epoch, buckets=best.bucket_count, store=best.store_id)

    def reported(self) -> list[Topology]:
        """The topologies that buckets report, of whatever store."""
        return [
            status.topology for status in self.statuses.values() if status.topology is not None and not status.fault
        ]

    def _expected_identity(self, bucket_id: int) -> str:
        return expected_identity(self.topology, bucket_id)
