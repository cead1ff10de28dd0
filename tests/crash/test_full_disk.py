"""A disk that fills up, on a small tmpfs: puts get 507 while reads and deletes go on; full, nothing acknowledged is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.running_store import RunningStore
from tests.support.small_disk import MIB, fill, needs_root, small_disk

pytestmark = [pytest.mark.ray, needs_root]

DISK_BYTES = 160 * MIB
RESERVE_BYTES = 48 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 160 MiB."""
    with small_disk(tmp_path / "disk", DISK_BYTES):
        yield tmp_path / "disk"


def wait_for_put(client: httpx.Client, key: str, status: int) -> None:
    deadline_s = time.monotonic() + 60
    while (answer := client.put("/put", params={"key": key, "value": "v"})).status_code != status:
        assert time.monotonic() < deadline_s, f"{answer.status_code} {answer.text}, not {status}"
        time.sleep(0.1)


def test_below_the_reserve_puts_are_refused_and_reads_and_deletes_go_on(disk: Path, tmp_path: Path) -> None:
    args = {"data_dir": str(disk / "data"), "limits": {"disk_reserve_bytes": RESERVE_BYTES}}
    with RunningStore(tmp_path, bucket_count=1, args=args) as store, store.client() as client:
        for number in range(20):
            assert client.put("/put", params={"key": f"k{number}"}, content="x" * 10_000).status_code == 200
        fill(disk / "filler", RESERVE_BYTES - 8 * MIB)
        answer = client.put("/put", params={"key": "late", "value": "v"})
        assert answer.status_code == 507
        assert answer.json()["type"] == "urn:cloud-storage:disk-full"
        assert "retry-after" not in answer.headers
        assert client.get("/get/late").status_code == 404, "refused means not stored"
        assert client.get("/get/k3").json()["value"] == "x" * 10_000
        assert client.delete("/delete/k3").status_code == 200
        assert client.get("/get/k3").status_code == 404
        assert client.get("/topology").json()["buckets"][0]["disk_full"]
        (disk / "filler").unlink()
        assert client.put("/put", params={"key": "late", "value": "v"}).status_code == 200
        assert not client.get("/topology").json()["buckets"][0]["disk_full"]


def test_a_disk_without_a_byte_left_loses_nothing_and_the_bucket_comes_back(disk: Path, tmp_path: Path) -> None:
    """No reserve at all, so that writes really fail: the process ends, can't open, and is back when there is room."""
    args = {"data_dir": str(disk / "data"), "limits": {"disk_reserve_bytes": 0}}
    with RunningStore(tmp_path, bucket_count=1, args=args) as store, store.client() as client:
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
