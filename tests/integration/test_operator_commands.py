"""`verify` and `accept-loss` as an operator types them, on a store that really runs: from a whole one to a lost volume and
back to one that serves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.reconfigure import settled, wait_for_topology
from harness.running_store import ROOT, RunningStore
from serve_app.placement import bucket_of
from serve_app.records import Record, encode
from serve_app.settings import MIB
from serve_app.storage.facts import Totals, totals_fact
from serve_app.storage.folder import open_folder
from tests.support.commands import typed

pytestmark = pytest.mark.ray
KEYS = [f"key-{n}" for n in range(100)]
LOST = [key for key in KEYS if bucket_of(key.encode(), 2) == 1]
KEPT = [key for key in KEYS if bucket_of(key.encode(), 2) == 0]


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """A store to lose a volume of. The test that leaves it damaged comes last."""
    folder = tmp_path_factory.mktemp("operated")
    with RunningStore(folder, args={"limits": {"request_timeout_s": 2.0}}) as running:
        yield running


def test_a_lost_volume_is_accepted_and_the_store_is_whole_again(operated: RunningStore) -> None:
    store = operated
    with store.client() as client:
        for key in KEYS:
            assert client.put("/put", params={"key": key, "value": "v"}).status_code == 200
        before = {store.bucket_pid(bucket_id) for bucket_id in range(2)}
        status, said = typed(store.processes(), "verify")
        assert status == 0, said
        assert "whole: all 100 keys are at home, and every count is exact" in said
        assert {store.bucket_pid(bucket_id) for bucket_id in range(2)} == before, "nothing was replaced"
        status, said = typed(store.processes(), "accept-loss", "1", "--yes")
        assert status == 1, said
        assert "error: bucket-1 is not lost" in said

        # The process has its files open until it is killed; the next one finds no folder.
        killed = store.bucket_pid(1)
        assert killed is not None
        shutil.rmtree(store.data_dir / "bucket-1")
        os.kill(killed, signal.SIGKILL)
        wait_until_refused(client, LOST[0], "came back empty")
        assert store.bucket_pid(1) not in (killed, None)
        for key in KEPT:
            assert client.get(f"/get/{key}").json()["value"] == "v"
        away = client.get("/topology").json()["buckets"][1]
        assert not away["reachable"]
        assert "came back empty" in away["last_error"]
        status, said = typed(store.processes(), "verify")
        assert status == 1, said
        assert "`accept-loss 1` goes on without its data" in said

        status, said = typed(store.processes(), "accept-loss", "bucket-1", stdin="no\n")
        assert status == 1
        assert "nothing was changed" in said
        wait_until_refused(client, LOST[0], "came back empty")
        status, said = typed(store.processes(), "accept-loss", "bucket-1", stdin="bucket-1\n")
        assert status == 0, said
        assert "bucket-1 serves, and starts empty" in said
        store.wait_reachable()
        assert [client.get(f"/get/{key}").status_code for key in LOST] == [404] * len(LOST)
        for key in LOST:
            assert client.put("/put", params={"key": key, "value": "again"}).status_code == 200
        for key in KEPT:
            assert client.get(f"/get/{key}").json()["value"] == "v"
        status, said = typed(store.processes(), "verify")
        assert status == 0, said
        assert "whole: all 100 keys are at home" in said


def test_verify_names_keys_that_are_in_the_wrong_bucket(operated: RunningStore) -> None:
    """One that is nowhere else, and a second copy of one that is at home too, both beyond the API's sight."""
    store = operated
    doubled, stray = KEPT[0], next(f"stray-{n}" for n in range(100) if bucket_of(b"stray-%d" % n, 2) == 0)
    with store.client() as client:
        assert client.put("/put", params={"key": doubled, "value": "v"}).status_code == 200
    assert store.stop() == 0
    plant(store.data_dir / "bucket-1", 1, [doubled, stray])
    store.start()
    store.wait_reachable()
    with store.client() as client:
        assert client.get(f"/get/{doubled}").json()["value"] == "v"
        assert client.get(f"/get/{stray}").status_code == 404
    status, said = typed(store.processes(), "verify")
    assert status == 1, said
    assert "not whole" in said
    assert "bucket-1 holds 2 keys that belong elsewhere" in said
    for key in (doubled, stray):
        assert f"bucket-1 holds '{key}', which belongs to bucket-0" in said
    assert "wrong" not in said, "the counts are right: it is the place that is not"


def test_a_lost_bucket_0_is_no_new_store_also_where_it_starts_with_fewer_buckets(tmp_path: Path) -> None:
    """All of Ray was stopped, and bucket_count would leave out the only bucket that still tells of the store."""
    with RunningStore(tmp_path, args={"limits": {"request_timeout_s": 2.0}}) as store:
        with store.client() as client:
            for key in KEYS:
                assert client.put("/put", params={"key": key, "value": "v"}).status_code == 200
        assert store.stop() == 0
        shutil.rmtree(store.data_dir / "bucket-0")
        store.document["applications"][0]["deployments"][0]["user_config"] = {"bucket_count": 1}
        store.start()
        with store.client() as client:
            wait_until_refused(client, KEPT[0], "came back empty")
            assert client.put("/put", params={"key": KEPT[0], "value": "w"}).status_code == 503
            for key in LOST:
                assert client.get(f"/get/{key}").json()["value"] == "v", "bucket-1 serves what it has"
            status, said = typed(store.processes(), "accept-loss", "0", "--yes")
            assert status == 0, said
            wait_for_topology(store, settled(1))
            assert [client.get(f"/get/{key}").status_code for key in KEYS] == [
                404 if key in KEPT else 200 for key in KEYS
            ]
        status, said = typed(store.processes(), "verify")
        assert status == 0, said
        assert f"whole: all {len(LOST)} keys are at home" in said


def plant(folder: Path, bucket_id: int, keys: list[str]) -> None:
    """Write records into a bucket's folder that no bucket process has open, as the bucket itself would: counted."""
    storage = open_folder(folder, bucket_id, cache_bytes=MIB, write_buffer_bytes=MIB)
    try:
        count, size, revision, sequence, _ = storage.facts.totals
        raw = encode(Record(b"planted", "text/plain", revision + 1, 0, 0))
        added = len(keys), sum(len(key) + len(raw) for key in keys)
        totals = Totals(count + added[0], size + added[1], revision + 1, sequence + 1)
        storage.engine.write([(key.encode(), raw) for key in keys], [totals_fact(totals)])
    finally:
        storage.close()


def wait_until_refused(client: httpx.Client, key: str, why: str) -> None:
    deadline_s = time.monotonic() + 60
    while True:
        answer = client.get(f"/get/{key}")
        if answer.status_code == 503 and why in answer.json()["detail"]:
            return
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < deadline_s, answer.text


@pytest.mark.parametrize(
    ("address", "sentence"),
    [("local", "error: RAY_ADDRESS is `local`"), ("127.0.0.1:1", "error: no connection to Ray at 127.0.0.1:1")],
)
def test_without_a_ray_it_says_so(address: str, sentence: str) -> None:
    for command in (["verify"], ["accept-loss", "1"]):
        done = subprocess.run(
            [sys.executable, "-m", "serve_app", *command],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=ROOT,
            env={**os.environ, "RAY_ADDRESS": address},
        )
        assert done.returncode == 1
        assert sentence in done.stderr
