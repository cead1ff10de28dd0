"""Lists: the names of all buckets in one order, a page at a time.

A record that is there throughout is listed exactly once, also while keys move: every bucket is asked first for what has
always been its own, and when all have answered for what it has taken from others. What moves in between is seen twice,
which the merge puts right, and never missed. All answers of a page are of one topology; with another one in between it is
done again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from serve_app.directory.topology_delivery import TopologyDelivery
from serve_app.directory.view import StoreView
from serve_app.errors import StoreError, Unavailable
from serve_app.listed_names import name_of
from serve_app.topology import Topology
from serve_app.wire.connection import CallExpired, ConnectionBroken
from serve_app.wire.link import Retired
from serve_app.wire.messages import MAX_LISTED, Entry, List, Listed, Moved, Refused
from serve_app.wire.refusals import error_of

#: Lists that a directory works at, at once: each may hold some megabytes of each bucket.
_AT_ONCE = 16
_PAUSE_S = 0.02
#: The hash spreads names evenly: a bucket is asked for its share and a little.
_SPARE_SHARE, _SPARE_NAMES = 1.2, 16


@dataclass(frozen=True)
class Question:
    """What is listed. limit: 1 to `MAX_LISTED` names on a page. Else as in `messages.List`."""

    prefix: bytes = b""
    start_after: bytes = b""
    delimiter: bytes = b""
    limit: int = MAX_LISTED
    values: bool = False


class Page(NamedTuple):
    """entries, prefixes: by name, in order. next: what to give as `start_after` for what follows; None at the end."""

    entries: list[Entry]
    prefixes: list[bytes]
    next: bytes | None


class _Again(Exception):
    """The page has to be done again: the topology has changed, or a connection broke."""


class Listing:
    """See the module. On the directory's loop."""

    def __init__(self, view: StoreView, delivery: TopologyDelivery, timeout_s: float) -> None:
        self._view, self._delivery, self._timeout_s = view, delivery, timeout_s
        self._under_way = 0

    async def page(self, asked: Question) -> Page:
        """The first names behind `start_after`.

        Raises:
            Unavailable: a bucket can't be asked, or too many lists are under way.
        """
        if self._under_way >= _AT_ONCE:
            raise Unavailable("too many lists are being made; try again in a moment")
        self._under_way += 1
        try:
            return await self._page(asked, asyncio.get_running_loop().time() + self._timeout_s)
        finally:
            self._under_way -= 1

    async def _page(self, asked: Question, deadline_s: float) -> Page:
        found: dict[bytes, Entry | None] = {}
        start, enough = asked.start_after, asked.limit
        while True:
            upto = await self._some(asked, start, enough, found, deadline_s)
            if upto == b"" or len(found) >= asked.limit:
                break
            start, enough = upto, asked.limit - len(found)
        names = sorted(found)
        chosen = names[: asked.limit]
        more = len(names) > len(chosen) or upto != b""
        entries = [entry for name in chosen if (entry := found[name]) is not None]
        prefixes = [name for name in chosen if found[name] is None]
        return Page(entries, prefixes, (chosen[-1] if len(names) >= asked.limit else upto) if more else None)

    async def _some(
        self, asked: Question, start: bytes, enough: int, found: dict[bytes, Entry | None], deadline_s: float
    ) -> bytes:
        """Add names behind `start` to those found, all up to the one that is returned; empty where that is the end."""
        while True:
            topology = self._view.topology or await self._view.wait_for_topology(deadline_s)
            try:
                answers = await self._ask_all(topology, asked, start, enough, deadline_s)
                break
            except _Again:
                await asyncio.sleep(_PAUSE_S)
        stops = [answer.upto for answer in answers if answer.upto]
        upto = min(stops) if stops else b""
        for answer in answers:
            for name in answer.prefixes:
                if not upto or name <= upto:
                    found[name] = None
            for entry in answer.entries:
                if upto and entry.key > upto:
                    break
                before = found.get(entry.key)
                if before is None or before.revision < entry.revision:
                    found[entry.key] = entry
        name, shared = name_of(upto, asked.prefix, asked.delimiter)
        # A bucket may stop within a name that another has told: that is told, and not to be told again.
        return name if shared and name in found else upto

    async def _ask_all(
        self, topology: Topology, asked: Question, start: bytes, enough: int, deadline_s: float
    ) -> list[Listed]:
        share = min(MAX_LISTED, int(enough / len(topology.identities) * _SPARE_SHARE) + _SPARE_NAMES, enough)
        answers: list[Listed] = []
        for taken in (False, True) if topology.moving else (False,):
            body = List(start, asked.prefix, asked.delimiter, share, asked.values, taken)
            count = len(topology.identities) if taken else topology.bucket_count
            outcomes = await asyncio.gather(
                *(self._ask(bucket_id, body, topology, deadline_s) for bucket_id in range(count)),
                return_exceptions=True,
            )
            # What is for good first: who asks again after it would only wait.
            for kind in (BaseException, _Again):
                for outcome in outcomes:
                    if isinstance(outcome, kind) and (kind is _Again or not isinstance(outcome, _Again)):
                        raise outcome
            answers += [outcome for outcome in outcomes if isinstance(outcome, Listed)]
        return answers

    async def _ask(self, bucket_id: int, body: List, topology: Topology, deadline_s: float) -> Listed:
        try:
            link = self._view.links.get(bucket_id)
            if link is None or self._view.topology is not topology:
                raise _Again
            connection = link.connection() or await link.wait_for_connection(deadline_s)
            answer = await connection.call(body, deadline_s, topology.epoch)
        except (ConnectionBroken, Retired):
            raise _Again from None
        except CallExpired:
            raise Unavailable(f"bucket-{bucket_id} did not answer in time") from None
        if isinstance(answer, Moved):
            await self._delivery.reconcile(bucket_id, answer.topology, deadline_s)
            raise _Again
        if isinstance(answer, Refused):
            if answer.reason == "busy" and asyncio.get_running_loop().time() < deadline_s:
                raise _Again
            error: StoreError = error_of(bucket_id, answer)
            raise error
        return answer
