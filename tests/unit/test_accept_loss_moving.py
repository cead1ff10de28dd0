"""`accept-loss` while keys move: the move goes on without the lost data, and with all the rest."""

from __future__ import annotations

import pytest

from serve_app import placement
from serve_app.resharding import coordinator, mover
from tests.support.local_store import TEST_LIMITS, LocalStore, run_async, until
from tests.support.lost_buckets import KEYS, accepted, check_keys, check_whole, filled_store, known, lose

#: Slow enough to catch a move in its middle: windows of some five keys, and a pause after each.
SLOW = TEST_LIMITS.model_copy(update={"move_bytes_per_s": 15_000})


@pytest.fixture(autouse=True)
def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "AGREED_S", 0.05)
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
            directory.watch.configure(after)
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

            def ended() -> bool:
                seen = directory.watch.topology
                return seen is not None and not seen.moving and seen.bucket_count == after

            await until(ended, 30)
            await until(lambda: all(link.connection() for link in directory.watch.links.values()))
            await check_keys(directory, {key for key in KEYS if may_be_lost(key, lost, before, after)})
            await check_whole(store)

    check()


def bucket_cursor(store: LocalStore, bucket_id: int) -> bytes:
    server = store.buckets[bucket_id].server
    topology, cursor = (None, None) if server is None else server.bucket.durable
    return cursor.position if topology is not None and topology.moving and cursor is not None else b""


def waited_for(store: LocalStore, except_for: int) -> list[str]:
    """What the moves of the other buckets wait for."""
    servers = [bucket.server for bucket in store.buckets if bucket.bucket_id != except_for]
    return [what for server in servers if server is not None for what in server.bucket.waiting.values()]
