"""Disks that fill up, on small tmpfs: puts get 507 while reads and deletes go on, a move waits for room, and nothing
acknowledged is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.reconfigure import settled, wait_for_topology
from harness.running_store import RunningStore
from serve_app.placement import bucket_of
from tests.support.commands import check_whole
from tests.support.moves import check_all, configure, put_all, total, wait_for_move, with_buckets
from tests.support.small_disk import MIB, enlarge, fill, free_bytes, needs_root, small_disk

pytestmark = [pytest.mark.ray, needs_root]

RESERVE_BYTES = 16 * MIB
#: Of bucket 1. Of bucket 2, what is left above the reserve holds less than half of the 13 MB that move there.
DISK_1_BYTES, DISK_2_BYTES = 160 * MIB, 23 * MIB
ROOM_BYTES = 128 * MIB
RECORDS = 4_000
VALUES = {f"full-{n}": os.urandom(5_000).hex() for n in range(RECORDS)}  # not to be compressed
# RocksDB sets disk space aside by the size of its write buffer.
LIMITS = {"disk_reserve_bytes": RESERVE_BYTES, "write_buffer_bytes": MIB, "request_timeout_s": 30.0}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """A store of 2 buckets. Bucket 1 has a disk of its own, and bucket 2, which is not there yet, will have a smaller one."""
    store = RunningStore(tmp_path_factory.mktemp("small"), bucket_count=2, args={"limits": LIMITS})
    with (
        small_disk(store.data_dir / "bucket-1", DISK_1_BYTES),
        small_disk(store.data_dir / "bucket-2", DISK_2_BYTES),
        store,
    ):
        yield store


def test_below_the_reserve_puts_are_refused_and_reads_and_deletes_go_on(small: RunningStore) -> None:
    count = small.wait_reachable()["bucket_count"]
    keys = [key for n in range(60) if bucket_of((key := f"reserve-{n}").encode(), count) == 1]
    filler = small.data_dir / "bucket-1" / "filler"
    with small.client() as client:
        for key in keys[1:]:
            assert client.put("/put", params={"key": key}, content="x" * 10_000).status_code == 200
        fill(filler, RESERVE_BYTES - 8 * MIB)
        answer = client.put("/put", params={"key": keys[0], "value": "v"})
        assert answer.status_code == 507
        assert answer.json()["type"] == "urn:cloud-storage:disk-full"
        assert "retry-after" not in answer.headers
        assert client.get(f"/get/{keys[0]}").status_code == 404, "refused means not stored"
        assert client.get(f"/get/{keys[1]}").json()["value"] == "x" * 10_000
        assert client.delete(f"/delete/{keys[1]}").status_code == 200
        assert client.get(f"/get/{keys[1]}").status_code == 404
        assert client.get("/topology").json()["buckets"][1]["disk_full"]
        filler.unlink()
        assert client.put("/put", params={"key": keys[0], "value": "v"}).status_code == 200
        assert not client.get("/topology").json()["buckets"][1]["disk_full"]
        for key in (keys[0], *keys[2:]):
            assert client.delete(f"/delete/{key}").status_code == 200


def stopped(body: dict[str, Any]) -> bool:
    """Every source says that it waits for bucket 2's disk, and that says so too: it may find some room, and be full again."""
    sources, target = body["buckets"][:2], body["buckets"][2]
    says = "bucket-2: the disk has less than its reserve"
    return target["disk_full"] and all(each["waiting_for"].startswith(says) for each in sources)


def test_a_move_to_a_full_disk_waits_for_room(small: RunningStore, tmp_path: Path, tell: Callable[[str], None]) -> None:
    """It stops and says why, every key is read all the while, and it goes on when there is room, whoever died meanwhile."""
    store, volume = small, small.data_dir / "bucket-2"
    with_buckets(store, tmp_path, 2)
    put_all(store, VALUES)
    configure(store, tmp_path, 3)
    body = wait_for_move(store, 3, stopped)
    assert total(body, "moved") > 0
    assert all(source["remaining"] > 0 for source in body["buckets"][:2])
    assert body["buckets"][2]["keys"] > 0, "some of what it holds is read from there now"
    check_all(store, VALUES)
    # Down to the last byte: who only reads doesn't notice. (Until then RocksDB may have found something to clear away.)
    fill(volume / "filler")
    assert free_bytes(volume) < MIB
    body = wait_for_move(store, 3, stopped)
    moved = total(body, "moved")
    tell(f"stopped with {moved} of {RECORDS} keys moved: {body['buckets'][0]['waiting_for']}")
    check_all(store, VALUES)
    # Whoever waits may die: what it waits for is found again.
    store.kill_bucket(1)
    wait_for_move(store, 3, stopped)
    check_all(store, VALUES)
    assert total(wait_for_move(store, 3, stopped), "moved") == moved, "it has really stopped"

    # So may the target, which then can't even open its database: its keys are not to be had, and not lost.
    store.kill_bucket(2)
    enlarge(volume, ROOM_BYTES)
    wait_for_topology(store, settled(3))
    check_all(store, VALUES, homes=3)
    check_whole(store.processes(), RECORDS)


def test_a_disk_without_a_byte_left_loses_nothing_and_the_bucket_comes_back(tmp_path: Path) -> None:
    """No reserve at all, so that writes really fail: the process ends, can't open, and is back when there is room."""
    disk = tmp_path / "disk"
    args = {"data_dir": str(disk / "data"), "limits": {"disk_reserve_bytes": 0}}
    store = RunningStore(tmp_path, bucket_count=1, args=args)
    with small_disk(disk, DISK_1_BYTES), store, store.client() as client:
        acknowledged = {}
        fill(disk / "filler", 4 * MIB)
        for number in range(400):
            value = f"{number:06d}" * 5000
            answer = client.put("/put", params={"key": f"k{number}"}, content=value)
            if answer.status_code == 200:
                acknowledged[f"k{number}"] = value
            else:
                assert answer.status_code in (503, 504, 507), answer.text
                break
        else:
            pytest.fail("the disk never filled up")
        assert acknowledged
        (disk / "filler").unlink()
        wait_for_put(client, "after", 200)
        for key, value in acknowledged.items():
            assert client.get(f"/get/{key}").json()["value"] == value


def wait_for_put(client: httpx.Client, key: str, status: int) -> None:
    deadline_s = time.monotonic() + 60
    while (answer := client.put("/put", params={"key": key, "value": "v"})).status_code != status:
        assert time.monotonic() < deadline_s, f"{answer.status_code} {answer.text}, not {status}"
        time.sleep(0.1)
