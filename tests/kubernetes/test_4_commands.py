"""The commands that change a running store, on one that runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from harness.running_store import ROOT, free_port
from kuberay import groups
from tests.kubernetes.cluster import name_of, until
from tests.kubernetes.store import Store

DEMO_RECORDS = 8_000


@contextmanager
def opened(store: Store) -> Iterator[str]:
    """The store through `open`; its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "kuberay", "open", "--namespace", store.kubectl.namespace, "--port", str(port)],
        cwd=ROOT,
        # A suite that a script has put in the background ignores Ctrl-C, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(url), "`open` to answer", timeout_s=30)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) in (0, 130)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.HTTPError:
        return False


def test_open_carries_requests_and_survives_a_pod_going_away(store: Store) -> None:
    store.wait_until_whole()
    with opened(store) as url:
        assert "swagger" in httpx.get(f"{url}/docs").text.lower()
        large = "x" * 3_000_000
        assert httpx.put(f"{url}/put", params={"key": "large"}, content=large, timeout=30).status_code == 200
        assert httpx.get(f"{url}/get/large", timeout=30).json()["value"] == large
        victim = name_of(store.kubectl.pods("ray.io/group=directory")[0])
        store.kubectl.run("delete", "pod", victim, "--force", "--grace-period=0", "--wait=false")
        until(lambda: answers(url), "`open` to answer through the other directory", timeout_s=30)
        until(lambda: store.kubectl.ready("ray.io/group=directory", 2), "the directory to be back")
        assert httpx.get(f"{url}/get/large", timeout=30).json()["value"] == large
    store.wait_until_whole()


def test_the_demos_load_goes_through_open(store: Store, tmp_path: Path) -> None:
    """Many requests at once, in both directions, byte for byte. (All of Debian's packages would take minutes.)"""
    lines = [json.dumps({"key": f"demo-{n}", "value": f"{n} " * (n % 300)}) for n in range(DEMO_RECORDS)]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(lines))
    store.wait_until_whole()
    with opened(store) as url:
        done = subprocess.run(
            [sys.executable, "-m", "serve_app", "demo", "--url", url, "--data", str(data)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert f"all {DEMO_RECORDS:,} records are there, byte for byte" in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr


def other_name(image: str) -> str:
    """Another reference to the same image."""
    if os.environ.get("UPGRADE_IMAGE"):
        return os.environ["UPGRADE_IMAGE"]
    if "/" in image:
        pytest.skip("set UPGRADE_IMAGE to another image to upgrade to")
    return f"docker.io/library/{image}"


def test_upgrade_keeps_the_data_and_goes_on_where_it_was_interrupted(store: Store) -> None:
    store.wait_until_whole()
    before = store.topology()
    image = other_name(store.image)
    command = [sys.executable, "-m", "kuberay", "upgrade", "--namespace", store.kubectl.namespace, "--image", image]
    interrupted = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: store.rayservice()["spec"].get("suspend"), "the store to be suspended")
    interrupted.kill()
    interrupted.wait()
    said = store.command("upgrade", "--image", image, timeout_s=300)
    assert re.search(r"\d+ s", said), "the downtime is said"
    store.wait_until_whole()
    assert groups.image(store.rayservice()) == image
    for pod in store.kubectl.pods("ray.io/is-ray-node=yes"):
        assert pod["spec"]["containers"][0]["image"] == image
    after = store.topology()
    assert [bucket["keys"] for bucket in after["buckets"]] == [bucket["keys"] for bucket in before["buckets"]]
    assert store.command("upgrade", "--image", image).strip() != ""


def test_delete_keeps_the_claims_and_deploy_finds_the_data(store: Store) -> None:
    store.wait_until_whole()
    before = store.topology()
    redis = ["--redis-image", os.environ["REDIS_IMAGE"]] if os.environ.get("REDIS_IMAGE") else []
    said = store.command("delete", timeout_s=180)
    claims = {name_of(claim) for claim in store.kubectl.get("pvc")["items"]}
    assert {"cloud-storage-bucket-0", "cloud-storage-bucket-1"} <= claims
    assert "cloud-storage-bucket-0" in said
    assert not store.kubectl.get("rayservices,deployments,networkpolicies")["items"]
    store.command("deploy", "--image", store.image, *redis, timeout_s=300)
    store.wait_until_whole()
    assert [bucket["keys"] for bucket in store.topology()["buckets"]] == [
        bucket["keys"] for bucket in before["buckets"]
    ]
