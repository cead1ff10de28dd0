"""The demo against the real service: a bucket is killed while it loads, and what is lost afterwards is found."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_storage import Store
from harness.running_store import ROOT, RunningStore

pytestmark = pytest.mark.ray

_COUNT = 60_000
_PREFIX = "demo test/"
_TIMEOUT_S = 150


@pytest.fixture
def data(store: RunningStore, tmp_path: Path) -> Iterator[Path]:
    """A data set with keys and values of many kinds; the store is without them afterwards."""
    path = tmp_path / "data.jsonl"
    values = ["", "plain", "ä\n\0🙂", "x" * 5_000]
    keys = [f"{_PREFIX}{number}?#%+ü" for number in range(_COUNT)]
    with path.open("w") as file:
        for number, key in enumerate(keys):
            file.write(json.dumps({"key": key, "value": f"{values[number % 4]}{number or ''}"}) + "\n")
        file.write(json.dumps({"key": keys[0], "value": "the last counts"}) + "\n")
    yield path
    store.wait_reachable()
    with Store(store.url) as client:
        client.delete_many(keys)


def start(store: RunningStore, data: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "serve_app", "demo", "--url", store.url, "--data", str(data), *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=_TIMEOUT_S)
    return process.returncode, output


def records_held(store: RunningStore) -> int:
    with store.client() as client:
        return sum(bucket["keys"] or 0 for bucket in client.get("/topology").json()["buckets"])


def test_nothing_is_lost_when_a_bucket_is_killed_while_it_loads(store: RunningStore, data: Path) -> None:
    before = records_held(store)
    process = start(store, data, "--connections", "2")
    deadline_s = time.monotonic() + _TIMEOUT_S
    while records_held(store) < before + _COUNT // 10:
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    store.kill_bucket(1)
    assert process.poll() is None, "it was still loading"
    status, output = finish(process)
    assert status == 0, output
    assert f"{_COUNT:,} records" in output
    assert "1 more had a key that came again" in output
    assert f"nothing lost: all {_COUNT:,} records are there, byte for byte" in output
    for bucket_id in range(3):
        assert f"bucket-{bucket_id}" in output
    assert "Traceback" not in output
    store.wait_reachable()
    assert records_held(store) == before + _COUNT

    # An earlier load is checked without loading it again, and what is gone or changed is found.
    with store.client() as client:
        assert client.delete("/delete", params={"key": f"{_PREFIX}7?#%+ü"}).status_code == 200
        assert client.put("/put", params={"key": f"{_PREFIX}8?#%+ü"}, content="8!").status_code == 200
    status, output = finish(start(store, data, "--check-only"))
    assert status == 1, output
    assert "Loaded" not in output
    assert f"2 of {_COUNT:,} records are lost" in output
    assert f"'{_PREFIX}7?#%+ü': no such key" in output
    assert f"'{_PREFIX}8?#%+ü': 2 bytes instead of 1, different from byte 1 on" in output


def test_a_bad_line_ends_the_demo_with_a_sentence(store: RunningStore, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"key": "a", "value": "1"}\n{"key": "a"}\n')
    status, output = finish(start(store, path))
    assert (status, output) == (1, f'error: {path}, line 2: not an object of exactly "key" and "value"\n')
