"""Founding a new store: once every bucket of the configured count is there and no bucket that there is belongs to a store
yet, bucket 0 is asked to commit the first topology, and whatever it answers is the topology.
"""

from __future__ import annotations

from collections.abc import Collection

from serve_app.directory.census import Census, FindBuckets
from serve_app.directory.configuration import Configuration
from serve_app.directory.topology_delivery import ASK_TIMEOUT_S
from serve_app.directory.view import StoreView
from serve_app.topology import MAX_BUCKET_COUNT
from serve_app.wire.messages import Establish


class Founding:
    """See the module."""

    def __init__(self, view: StoreView, configuration: Configuration, find_buckets: FindBuckets) -> None:
        self._view = view
        self._configuration = configuration
        self._census = Census(find_buckets)

    async def buckets_there(self) -> Collection[int]:
        """The ids of the buckets that there are, as said within the last second. Raises Unavailable."""
        return await self._census.ids()

    async def establish(self) -> None:
        """Found the store, once every bucket there is has been heard, and is empty and without a store.

        Those beyond the configured count too: the store may have had more, of which bucket 0 came back empty.

        Raises:
            Unavailable: which buckets there are is not said, or bucket 0 refused.
            ConnectionBroken, CallExpired: bucket 0 did not answer; it may have been done.
        """
        view, count = self._view, self._configuration.bucket_count
        if count is None or not self._are_new(range(count)):
            return
        # Of what was said a moment ago all must have been heard; then what is said now decides.
        for anew in (False, True):
            there = self._to_be_heard(await self._census.ids(anew=anew))
            view.ensure_links(there)
            if count != self._configuration.bucket_count or not self._are_new(there):
                return
        identities = tuple(view.statuses[bucket_id].identity for bucket_id in range(count))
        answer = await view.link(0).ask(Establish(identities), ASK_TIMEOUT_S)
        view.adopt(answer.topology)

    def _to_be_heard(self, told_of: Collection[int]) -> set[int]:
        """The buckets that count where a store is founded: those configured, those beside bucket 0, those told of."""
        zero = self._view.statuses.get(0)
        siblings = () if zero is None else zero.siblings
        return {*range(self._configuration.bucket_count or 0), *siblings, *told_of} & set(range(MAX_BUCKET_COUNT))

    def _are_new(self, bucket_ids: Collection[int]) -> bool:
        """Whether these have been heard, and no bucket that was heard belongs to a store or holds anything."""
        if any(bucket_id not in self._view.statuses for bucket_id in bucket_ids):
            return False
        heard = self._view.statuses.values()
        return not any(status.keys or status.fault or status.topology is not None for status in heard)

    def what_is_missing(self) -> str:
        """What a new store waits for, as a sentence."""
        configuration, view = self._configuration, self._view
        if configuration.bucket_count is None:
            return configuration.refused or "no bucket_count is configured"
        wanted = self._to_be_heard(self._census.latest)
        away = [
            f"bucket-{link.bucket_id} ({link.trouble})"
            for link in view.links.values()
            if not link.connected and link.bucket_id in wanted
        ]
        holding = [
            f"bucket-{status.bucket_id} ({status.fault or 'holds records but knows of no store'})"
            for status in view.statuses.values()
            if status.fault or (status.keys and status.topology is None)
        ]
        return "waiting for " + (", ".join(away + holding) or "the first topology")
