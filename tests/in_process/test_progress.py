"""How far a move is: what /topology says, held against what is on the buckets' disks."""

from __future__ import annotations

import asyncio

import pytest

from serve_app import placement
from serve_app.bucket.progress import Pace, progress
from serve_app.cursor import END, Cursor
from serve_app.http.models import TopologyAnswer
from serve_app.http.status import topology as answer
from serve_app.resharding import mover
from serve_app.settings import Limits
from serve_app.topology import first_topology
from tests.support.local_store import LocalStore, local_store, run_async, until
from tests.support.quick_moves import filled, move_quickly

SLOW = Limits(disk_reserve_bytes=0, move_bytes_per_s=40_000)
KEYS = [b"key-%03d" % n for n in range(400)]


@pytest.fixture(autouse=True)
def agree_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)


def sizes(records: dict[bytes, bytes]) -> int:
    return sum(len(key) + len(raw) for key, raw in records.items())


def to_leave(store: LocalStore, bucket_id: int, before: int, after: int) -> dict[bytes, bytes]:
    """What is in a bucket and belongs elsewhere after the move."""
    return {
        key: raw
        for key, raw in store.buckets[bucket_id].records.items()
        if placement.bucket_of(key, before) == bucket_id != placement.bucket_of(key, after)
    }


@run_async
async def test_what_it_says_is_what_there_is() -> None:
    async with local_store(4, SLOW) as store:
        directory = await filled(store, 2, KEYS)
        at_first = [to_leave(store, bucket_id, 2, 4) for bucket_id in range(2)]
        directory.configuration.follow(4)
        seen: list[TopologyAnswer] = []
        while True:
            before = [to_leave(store, bucket_id, 2, 4) for bucket_id in range(2)]
            said = await answer(directory)
            after = [to_leave(store, bucket_id, 2, 4) for bucket_id in range(2)]
            if said.phase == "stable":
                if seen:
                    break
                await asyncio.sleep(0.01)
                continue
            seen.append(said)
            for source in range(2):
                bucket = said.buckets[source]
                if bucket.moved is None:
                    assert len(before[source]) == len(at_first[source]), "it has not been told of the move yet"
                    continue
                assert bucket.remaining is not None
                # It may have moved on between the looks, a window at most.
                assert len(at_first[source]) - len(before[source]) <= bucket.moved
                assert bucket.moved <= len(at_first[source]) - len(after[source])
                assert bucket.moved_bytes is not None
                assert sizes(at_first[source]) - sizes(before[source]) <= bucket.moved_bytes
                assert bucket.moved_bytes <= sizes(at_first[source]) - sizes(after[source])
                if after[source]:
                    # Estimated from the hash: of some 200 keys half leave, give or take four times the deviation.
                    assert abs(bucket.moved + bucket.remaining - len(at_first[source])) < 30
                    assert bucket.remaining_bytes is not None
                    assert abs(bucket.moved_bytes + bucket.remaining_bytes - sizes(at_first[source])) < 30 * 130
            await asyncio.sleep(0.01)
        assert any(
            0 < sum(b.moved or 0 for b in said.buckets) < sum(b.remaining or 0 for b in said.buckets) for said in seen
        )
        assert any(b.keys_per_s and b.bytes_per_s for said in seen for b in said.buckets)
        assert any(said.expected_end_s for said in seen)
        assert all(bucket.moved == bucket.remaining == 0 for bucket in said.buckets)
        assert said.expected_end_s is None


@run_async
async def test_what_a_bucket_that_is_away_has_moved_is_not_known() -> None:
    async with local_store(4, SLOW) as store:
        directory = await filled(store, 2, KEYS)
        directory.configuration.follow(4)
        await until(lambda: bool(store.buckets[2].records), 20)
        await store.buckets[1].crash()
        said = await answer(directory)
        away = said.buckets[1]
        assert (away.reachable, away.moved, away.remaining, away.moved_bytes, away.keys_per_s) == (False, *[None] * 4)
        assert said.expected_end_s is None


@run_async
async def test_a_wait_is_shown_beside_an_earlier_error_and_only_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_store(2, SLOW) as store:
        directory = await filled(store, 1, KEYS)
        server = store.buckets[0].server
        assert server is not None
        server.bucket.last_error = "a torn log tail was set aside"
        directory.configuration.follow(2)
        await until(lambda: bool(store.buckets[1].records), 20)
        await store.buckets[1].crash()
        await until(lambda: "bucket-1" in server.bucket.waiting.get("mover", ""), 20)
        said = (await answer(directory)).buckets[0]
        assert "bucket-1 is away" in said.waiting_for
        assert said.last_error == "a torn log tail was set aside"

        # The mover is in the pause after its last failed try when the move ends without it.
        monkeypatch.setattr(mover, "_RETRY_S", (0.3,))
        topology = server.bucket.standing.topology
        assert topology is not None
        await server.mover_access.install(topology.end_move())
        await until(lambda: not any(server.bucket.waiting.values()), 20)
        assert (await answer(directory)).buckets[0].waiting_for == ""


# -- the numbers -----------------------------------------------------------------------------------------------------


class Time:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_pace_is_that_of_the_last_while() -> None:
    time = Time()
    pace = Pace(time)
    assert pace.rates() == (0.0, 0.0)
    pace.note(Cursor(1))
    for _ in range(1000):
        time.now_s += 0.1
        pace.note(Cursor(1, moved_keys=round(time.now_s * 10), moved_bytes=round(time.now_s * 1000)))
    assert pace.rates() == pytest.approx((10.0, 1000.0), rel=0.01)
    assert len(pace._seen) < 100, "bounded"
    time.now_s += 5.0
    assert pace.rates()[0] == pytest.approx(5.0, rel=0.03), "nothing came in half of it"
    time.now_s += 20.0
    assert pace.rates() == (0.0, 0.0), "it stands still"
    pace.note(Cursor(3, moved_keys=5, moved_bytes=50))
    time.now_s += 1.0
    assert pace.rates() == (0.0, 0.0), "another move"


def test_nothing_remains_where_nothing_moves() -> None:
    stable = first_topology(("a", "b"))
    moving = stable.begin_move(1, ())
    pace = Pace(Time())
    assert progress(1, None, None, pace, "") == (True, 0, 0, 0, "", 0, 0.0, 0.0)
    assert progress(1, stable, Cursor(1, END, moved_keys=7), pace, "x") == (True, 0, 0, 0, "x", 0, 0.0, 0.0)
    assert progress(1, moving, Cursor(2, END, b"", 7, 70, 9, 90), pace, "") == (True, 7, 70, 0, "", 0, 0.0, 0.0)
    half = Cursor(2, b"k", b"", 4, 40, 9, 90)
    assert progress(1, moving, half, pace, "") == (False, 4, 40, 5, "", 50, 0.0, 0.0), "all of it leaves"
    assert progress(0, moving, half, pace, "") == (False, 4, 40, 0, "", 0, 0.0, 0.0), (
        "none of it leaves, so more than that"
    )
