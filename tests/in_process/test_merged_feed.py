"""The feeds of all buckets as one, where the simulation has found that it stood still."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from serve_app.changes import PUT, TAKEN, Change
from serve_app.directory import merged_feed, places
from serve_app.directory.merged_feed import MergedFeed
from serve_app.directory.places import Position
from serve_app.directory.watches import Watches, _Watch
from serve_app.topology import Topology
from serve_app.wire.messages import Changed, Changes
from tests.support.local_store import run_async

_TAGS = ("0" * 8, "1" * 8)
_TOPOLOGY = Topology(2, 2, 2, "store", ("0" * 32, "1" * 32))


class _Feed(MergedFeed):
    """Its buckets have told this much, and tell no more."""

    def __init__(self, told: dict[int, list[Change]], place: dict[int, Position] | None) -> None:
        view: Any = SimpleNamespace(topology=_TOPOLOGY, on_adopted=[], links={})
        super().__init__(view, place)
        self._told = told

    #: With what bucket 1 has begun.
    began = 0

    async def _ask(self, bucket_id: int) -> Changed:
        at = self.place.get(bucket_id)
        changes = [change for change in self._told[bucket_id] if at is None or change.revision > at.revision]
        if at is not None and not changes and bucket_id in self._heard:
            await asyncio.sleep(3600)
        upto = changes[-1].revision if changes else 0
        began = self.began if bucket_id else 0
        since = max(0, began - 1)
        identity = _TOPOLOGY.identities[bucket_id]
        return Changed([] if at is None else changes, since, max(upto, since), identity, began)


def _taken(revision: int, source: int, reached: int) -> Change:
    return Change(TAKEN, _TAGS[source].encode(), revision, source, reached)


async def _a_moment(feed: _Feed) -> None:
    """Read what there is, and no more."""
    feed.begin(_TOPOLOGY)
    await asyncio.sleep(0.01)
    await feed.stop()


async def _everything(feed: _Feed, end: int) -> None:
    feed.begin(_TOPOLOGY)
    try:
        async with asyncio.timeout(2):
            while feed.end < end:  # noqa: ASYNC110 - nobody tells whoever only counts
                await asyncio.sleep(0.01)
    finally:
        await feed.stop()
    assert not feed.lost


@run_async
async def test_windows_that_two_buckets_took_from_each_other_in_turn_do_not_wait_for_each_other_for_ever() -> None:
    """Seed 0: the place that bucket 1 had come to was not told of while it waited for its next window's source."""
    told = {
        0: [_taken(2, 1, 2), Change(PUT, b"k0", 3)],
        1: [_taken(2, 0, 1), _taken(4, 0, 3), Change(PUT, b"k1", 5)],
    }
    await _everything(_Feed(told, {0: Position(_TAGS[0], 0), 1: Position(_TAGS[1], 0)} | _at(0, 1)), 2)


def _at(bucket_id: int, revision: int) -> dict[int, Position]:
    return {bucket_id: Position(_TAGS[bucket_id], revision)}


@run_async
async def test_who_comes_back_alone_to_more_than_is_kept_hears_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 3: what nobody had taken yet was forgotten, so that the watch was dropped, and came back to the same place."""
    monkeypatch.setattr(merged_feed, "_MAX_EVENTS", 3)
    told = {0: [Change(PUT, b"k%d" % number, number) for number in range(1, 9)], 1: []}
    feed = _Feed(told, _at(0, 0) | _at(1, 0))
    await _everything(feed, 8)
    assert feed.first == 0


@run_async
async def test_where_a_new_buckets_feed_begins_is_asked_for_however_much_is_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is taken before that is known."""
    monkeypatch.setattr(merged_feed, "_MAX_AHEAD", 1)
    told = {0: [Change(PUT, b"k%d" % number, number) for number in range(1, 9)], 1: []}
    feed = _Feed(told, _at(0, 0))
    feed.begin(_TOPOLOGY)
    await asyncio.sleep(0.01)
    await feed.ready(asyncio.get_running_loop().time() + 1)
    await feed.stop()


@run_async
async def test_what_a_bucket_told_before_it_left_and_came_back_is_missed_loudly() -> None:
    """Seed 2056: whoever came back to a place before it had joined first went on from where it had joined again."""
    feed = _Feed({0: [_taken(2, 1, 7)], 1: []}, _at(0, 0))
    feed.began = 8
    await _a_moment(feed)
    assert "bucket-1 has left" in feed.lost


@run_async
async def test_who_comes_back_after_an_accepted_loss_is_told_so() -> None:
    """Seed 161: what had come in place of the lost storage had left and joined again before anybody asked it."""
    feed = _Feed({0: [], 1: []}, _at(0, 7) | _at(1, 7))
    feed.begin(msgspec.structs.replace(_TOPOLOGY, revision_base=1000))
    await feed.stop()
    assert "lost" in feed.lost


@run_async
async def test_a_window_of_a_bucket_that_is_not_known_yet_is_waited_for() -> None:
    """Seed 155: a directory that had not heard that the bucket had joined took it for one that has left."""
    feed = _Feed({0: [_taken(2, 1, 1), Change(PUT, b"k0", 3)], 1: [Change(PUT, b"k1", 1)]}, _at(0, 0))
    view: Any = feed._view
    view.topology = Topology(1, 1, 1, "store", _TOPOLOGY.identities[:1])
    feed.begin(view.topology)
    await asyncio.sleep(0.01)
    assert not feed.lost
    view.topology = _TOPOLOGY
    feed._take_part()
    await _everything(feed, 2)


@run_async
async def test_who_goes_away_and_comes_back_again_misses_it_as_loudly() -> None:
    """Seed 51: the place that a watch was given said that it had heard all of what the bucket had told, also before."""
    feed = _Feed({0: [], 1: []}, _at(0, 0))
    feed.began = 8
    await _a_moment(feed)
    assert not feed.lost
    _, place = places.parse(places.shown("0" * 32, feed.place))
    assert place == _at(0, 0) | {1: Position(_TAGS[1], 7, 8)}
    again = _Feed({0: [_taken(2, 1, 7)], 1: []}, place)
    again.began = 8
    await _a_moment(again)
    assert "bucket-1 has left" in again.lost


@run_async
async def test_who_comes_back_alone_does_not_join_others_that_are_past_what_would_tell_it() -> None:
    """Seed 51, too: the others had heard all of the bucket, and were past the window that it gave away then."""
    shared = _Feed({0: [], 1: []}, _at(0, 1) | _at(1, 7))
    shared.taken[1, 0] = 5
    view: Any = SimpleNamespace(topology=_TOPOLOGY, on_adopted=[], links={})
    for revision, joins in ((4, False), (5, True)):
        watch = _Watch(Watches(view, 1.0), b"", 1.0)
        watch._place = _at(0, revision) | {1: Position(_TAGS[1], 7, 8)}
        assert watch._join(shared) is joins
        watch._place = _at(0, revision) | _at(1, 7)
        assert watch._join(shared)
        watch._place = _at(0, revision)
        assert not watch._join(shared), (
            "of a bucket that it does not know it may have missed what the others have heard"
        )


@run_async
async def test_a_bucket_that_left_before_it_was_heard_is_read_from_where_it_comes_back() -> None:
    """Seed 48: it was read from when it answered first, and what it had told since it came back was missed."""
    feed = _Feed({0: [], 1: [Change(PUT, b"k1", 1)]}, None)
    view: Any = feed._view
    ask = feed._ask

    async def bucket_1_is_away(bucket_id: int) -> Changed:
        if bucket_id == 1:
            await asyncio.sleep(3600)
        return await ask(bucket_id)

    feed._ask = bucket_1_is_away  # type: ignore[method-assign]
    feed.begin(_TOPOLOGY)
    await asyncio.sleep(0.01)
    view.topology = Topology(3, 1, 1, "store", _TOPOLOGY.identities[:1])
    feed._take_part()
    feed._ask = ask  # type: ignore[method-assign]
    view.topology = msgspec.structs.replace(_TOPOLOGY, epoch=4)
    feed._take_part()
    async with asyncio.timeout(2):
        while not feed.end:  # noqa: ASYNC110 - nobody tells whoever only counts
            await asyncio.sleep(0.01)
    await feed.stop()
    assert [event.change.key for event in feed.between(0, 10)] == [b"k1"]


@run_async
async def test_a_bucket_that_has_nothing_new_is_not_waited_for_to_begin() -> None:
    """Seed 112: who came back while a bucket was idle waited as long as that may wait for a change, and was refused."""
    asked: list[int] = []

    class Idle:
        async def call(self, body: Changes, deadline_s: float) -> Changed:
            asked.append(body.wait_ms)
            if len(asked) > 1:
                await asyncio.sleep(3600)
            return Changed([], 0, 5, _TOPOLOGY.identities[0], 0)

    topology = Topology(1, 1, 1, "store", _TOPOLOGY.identities[:1])
    link = SimpleNamespace(connection=Idle)
    view: Any = SimpleNamespace(topology=topology, on_adopted=[], links={0: link})
    feed = MergedFeed(view, _at(0, 5))
    feed.begin(topology)
    await feed.ready(asyncio.get_running_loop().time() + 60)
    await asyncio.sleep(0.01)
    await feed.stop()
    assert asked == [0, merged_feed._WAIT_MS]
