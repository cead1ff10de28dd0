"""`accept-loss` while keys move: the move goes on without the lost data, and with all the rest."""

from __future__ import annotations

import asyncio

import pytest

from serve_app import placement
from serve_app.bucket.standing import Standing
from serve_app.cursor import END, Cursor, Marker
from serve_app.resharding import coordinator, mover
from serve_app.storage.facts import IDENTITY, cursor_fact, topology_fact
from serve_app.topology import Topology
from tests.support.asking import put
from tests.support.local_store import TEST_LIMITS, LocalStore, local_store, run_async, until
from tests.support.lost_buckets import KEYS, accepted, check_keys, check_whole, filled_store, known, lose
from tests.support.quick_moves import move_quickly, settled

#: Slow enough to catch a move in its middle: windows of some five keys, and a pause after each.
SLOW = TEST_LIMITS.model_copy(update={"move_bytes_per_s": 15_000})


@pytest.fixture(autouse=True)
def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)
    monkeypatch.setattr(mover, "WINDOW_BYTES", 200)


def may_be_lost(key: bytes, lost: int, before: int, after: int) -> bool:
    return lost in (placement.bucket_of(key, before), placement.bucket_of(key, after))


@pytest.mark.parametrize(
    ("lost", "before", "after"),
    [(1, 2, 3), (2, 2, 3), (0, 2, 3), (1, 3, 2), (0, 3, 2), (2, 3, 2), (0, 2, 4), (3, 2, 4)],
)
def test_a_move_goes_on_without_the_data(lost: int, before: int, after: int) -> None:
    @run_async
    async def check() -> None:
        async with filled_store(max(before, after), configured=before, limits=SLOW) as (store, directory):
            directory.configuration.follow(after)
            await until(lambda: all(bucket_cursor(store, bucket_id) for bucket_id in range(before)))
            during = known(store, 1 if lost != 1 else 0)
            assert during is not None
            assert during.moving, "caught in the middle"
            await lose(store, lost)
            # An operator comes late: by then the others have met the new storage, and refused it.
            await until(lambda: any("came back empty" in what for what in waited_for(store, except_for=lost)))
            topology = await accepted(store, lost)
            assert topology.moving
            assert lost in topology.replaced

            await until(lambda: settled(directory, after), 30)
            await until(lambda: all(link.connection() for link in directory.view.links.values()))
            await check_keys(directory, {key for key in KEYS if may_be_lost(key, lost, before, after)})
            await check_whole(store)

    check()


def bucket_cursor(store: LocalStore, bucket_id: int) -> bytes:
    server = store.buckets[bucket_id].server
    topology, cursor, _, _ = Standing(None, None, {}) if server is None else server.bucket.standing
    return cursor.position if topology is not None and topology.moving and cursor is not None else b""


def waited_for(store: LocalStore, except_for: int) -> list[str]:
    """What the moves of the other buckets wait for."""
    servers = [bucket.server for bucket in store.buckets if bucket.bucket_id != except_for]
    return [what for server in servers if server is not None for what in server.bucket.waiting.values()]


def test_a_given_up_storage_that_joins_again_later_believes_no_old_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 → 3 with bucket 2's storage given up, 3 → 2, and 2 → 3 with that very storage: the move has the same shape as the
    one that its markers are of."""
    see_through = coordinator.Coordinator._see_through
    held_back = asyncio.Event()

    async def once_let_go(self: coordinator.Coordinator, topology: Topology) -> None:
        if held_back.is_set():
            await see_through(self, topology)

    monkeypatch.setattr(coordinator.Coordinator, "_see_through", once_let_go)

    @run_async
    async def check() -> None:
        async with local_store(3) as store:
            directory = await store.directory(2)

            async def moved(count: int) -> None:
                directory.configuration.follow(count)
                await until(lambda: settled(directory, count), 20)

            directory.configuration.follow(3)
            # It has taken every window, all of them empty; without its word the move does not end.
            await until(lambda: known(store, 2) is not None and len(markers(store, 2)) == 2)
            given_up = store.buckets[2].engine
            await lose(store, 2)
            await until(lambda: any("came back empty" in link.trouble for link in directory.view.links.values()))
            await accepted(store, 2)
            held_back.set()
            await moved(3)
            for key in KEYS:
                await put(directory, key, b"value of " + key, "")
            await moved(2)
            await until(lambda: store.buckets[2].retired, 20)
            store.buckets[2].retired = False
            await store.buckets[2].come_back_with(given_up)
            await moved(3)
            await check_keys(directory, set())
            await check_whole(store)

    check()


def markers(store: LocalStore, bucket_id: int) -> dict[int, Marker]:
    server = store.buckets[bucket_id].server
    return {} if server is None else dict(server.bucket.state.standing.markers)


@run_async
async def test_a_bucket_that_is_done_learns_of_the_end_from_a_bucket_0_it_was_not_told_of() -> None:
    """It had given all its keys away and was away while bucket 0's loss was accepted; nobody has a link to it any more."""
    store = LocalStore(2, TEST_LIMITS)
    zero, one = store.buckets
    new_zero, leaving = ((bucket.engine.get_fact(IDENTITY) or b"").decode() for bucket in (zero, one))
    moving = Topology(2, 2, 1, "store", ("lost", leaving), move_epoch=2)
    one.engine.write([], [topology_fact(moving), cursor_fact(Cursor(2, END))])
    zero.engine.write([], [topology_fact(Topology(1003, 1, 1, "store", (new_zero,))), cursor_fact(Cursor(1003, END))])
    try:
        await one.start()
        await zero.start()
        await until(lambda: one.retired)
    finally:
        await store.stop()
