"""A move whose target's disk is full, on a small tmpfs: it stops and says why, every key is read all the while, and it goes
on when there is room, whoever died meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import check_whole
from tests.support.moves import check_all, configure, put_all, total, wait_for_move
from tests.support.reconfigure import settled, wait_for_topology
from tests.support.running_store import RunningStore
from tests.support.small_disk import MIB, enlarge, fill, free_bytes, needs_root, small_disk

pytestmark = [pytest.mark.ray, needs_root]

RESERVE_BYTES = 16 * MIB
#: What is left above the reserve holds some of the 10 MB that move to bucket 2.
DISK_BYTES = 24 * MIB
ROOM_BYTES = 128 * MIB
RECORDS = 3_000
VALUES = {f"full-{n}": os.urandom(5_000).hex() for n in range(RECORDS)}  # not to be compressed
LIMITS = {"disk_reserve_bytes": RESERVE_BYTES, "write_buffer_bytes": MIB, "request_timeout_s": 30.0}


def stopped(body: dict[str, Any]) -> bool:
    """Every source says that it waits for bucket 2's disk."""
    sources = body["buckets"][:2]
    return all("bucket-2" in each["last_error"] and "reserve" in each["last_error"] for each in sources)


def test_a_move_to_a_full_disk_waits_for_room(tmp_path: Path, tell: Callable[[str], None]) -> None:
    store = RunningStore(tmp_path, bucket_count=2, args={"limits": LIMITS})
    volume = store.data_dir / "bucket-2"
    with small_disk(volume, DISK_BYTES), store:
        put_all(store, VALUES)
        configure(store, tmp_path, 3)
        body = wait_for_move(store, 3, stopped)
        moved = total(body, "moved")
        assert 0 < moved < RECORDS // 2
        assert total(body, "remaining") > 0
        target = body["buckets"][2]
        assert target["disk_full"]
        assert target["keys"] > 0, "some of what it holds is read from there now"

        check_all(store, VALUES)
        # Down to the last byte: who only reads doesn't notice.
        fill(volume / "filler")
        assert free_bytes(volume) == 0
        check_all(store, VALUES)
        # Whoever waits may die: what it waits for is found again.
        store.kill_bucket(1)
        body = wait_for_move(store, 3, stopped)
        check_all(store, VALUES)
        assert total(wait_for_move(store, 3, stopped), "moved") == moved, "it has really stopped"
        tell(f"stopped with {moved} of {RECORDS} keys moved: {body['buckets'][0]['last_error']}")

        # So may the target, which then can't even open its database: its keys are not to be had, and not lost.
        store.kill_bucket(2)
        enlarge(volume, ROOM_BYTES)
        wait_for_topology(store, settled(3))
        check_all(store, VALUES, homes=3)
        check_whole(store.processes(), RECORDS)
