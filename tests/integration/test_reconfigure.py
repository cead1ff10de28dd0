"""`serve deploy` on a running store: what a changed configuration does to replicas and buckets; and `serve run` by hand."""

from __future__ import annotations

import contextlib
import copy
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from harness.reconfigure import deploy, settled, wait_for_topology
from harness.running_store import ROOT, RunningStore, free_port
from serve_app.placement import bucket_of
from tests.support.exposure import assert_nothing_is_open, listening

pytestmark = pytest.mark.ray


def test_a_changed_count_moves_the_keys_and_restarts_nothing(store: RunningStore, tmp_path: Path) -> None:
    directories = sorted(store.directory_pids())
    buckets = [store.bucket_pid(bucket_id) for bucket_id in range(3)]
    document = copy.deepcopy(store.document)
    deployment = document["applications"][0]["deployments"][0]
    values = {f"reconfigured-{n}": f"value {n}" for n in range(200)}
    with store.client() as client:
        for key, value in values.items():
            assert client.put("/put", params={"key": key, "value": value}).status_code == 200

        deployment["user_config"] = {"bucket_count": 5}
        deploy(store, tmp_path, document)
        wait_for_topology(store, settled(5))
        assert client.get("/health").json() == {"bucket_count": 5}
        for key, value in values.items():
            answer = client.get(f"/get/{key}").json()
            assert (answer["value"], answer["bucket_id"]) == (value, bucket_of(key.encode(), 5))

        deployment["user_config"] = {"bucket_count": 0}
        deploy(store, tmp_path, document)
        wait_for_topology(store, lambda body: body["configured_count"] == 5 and "bucket_count" in body["problem"])

        deployment["user_config"] = {"bucket_count": 3}
        deploy(store, tmp_path, document)
        wait_for_topology(store, settled(3))
        for key, value in values.items():
            answer = client.delete(f"/delete/{key}").json()
            assert (answer["value"], answer["bucket_id"]) == (value, bucket_of(key.encode(), 3))
    assert sorted(store.directory_pids()) == directories, "nothing was restarted"
    assert [store.bucket_pid(bucket_id) for bucket_id in range(3)] == buckets
    deadline_s = time.monotonic() + 30
    while store.bucket_processes() != set(buckets):  # those that were left out have ended
        assert time.monotonic() < deadline_s, store.bucket_processes()
        time.sleep(0.1)
    assert (store.data_dir / "bucket-4" / "db").exists(), "their folders are kept"


def test_changed_args_reach_the_buckets_with_their_data(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with RunningStore(tmp_path / "store", bucket_count=1) as store:
        with store.client() as client:
            assert client.put("/put", params={"key": "k"}, content="x" * 2000).status_code == 200
        before = store.bucket_pid(0)
        document = copy.deepcopy(store.document)
        document["applications"][0]["args"]["limits"] = {"max_value_bytes": 1000}
        deploy(store, tmp_path, document)
        deadline_s = time.monotonic() + 90
        while True:
            with store.client() as client:
                if client.put("/put", params={"key": "late"}, content="x" * 2000).status_code == 413:
                    break
            assert time.monotonic() < deadline_s
            time.sleep(0.2)
        store.wait_reachable()
        assert store.bucket_pid(0) != before
        with store.client() as client:
            assert client.get("/get/k").json()["value"] == "x" * 2000


SERVE_RUN = 'exec "$0" -m ray.serve.scripts run "$1"'
AS_DOCUMENTED = f'eval "$("$0" -m serve_app environment)"; {SERVE_RUN}'


@pytest.mark.parametrize("commands", [SERVE_RUN, AS_DOCUMENTED], ids=["bare", "as documented"])
def test_serve_run_typed_by_hand(tmp_path: Path, commands: str) -> None:
    """Without the launcher: Ray's own command on a configuration, alone as its documentation shows, and as ours does."""
    store = RunningStore(tmp_path)
    store.config.write_text(yaml.safe_dump(store.document))
    with (tmp_path / "out").open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", commands, sys.executable, str(store.config)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "RAY_ADDRESS": "local", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port())},
        )
    try:
        deadline_s = time.monotonic() + 120
        while True:
            try:
                answer = httpx.put(f"{store.url}/put", params={"key": "by-hand", "value": "v"}, timeout=5)
                if answer.status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert process.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < deadline_s, (tmp_path / "out").read_text()[-3000:]
            time.sleep(0.2)
        assert httpx.get(f"{store.url}/get/by-hand").json()["value"] == "v"
        assert httpx.get(f"{store.url}/docs").status_code == 200
        if commands == AS_DOCUMENTED:
            store.process = process
            assert_nothing_is_open(store)
            assert {address for _, address in listening(store)} == {"127.0.0.1", "::"}
    finally:
        # Stopping is no part of this, and takes its time.
        for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait(10)
