"""The deployed store, as the tests see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.running_store import ROOT
from tests.kubernetes.cluster import Kubectl, name_of, restarts_of, until

SERVICE = "cloud-storage-serve-svc"
RAY_PODS = "app.kubernetes.io/component in (head,directory,bucket)"
#: The processes of the store in a pod: what Ray calls them.
_ACTORS = """
import psutil
for process in psutil.process_iter(["cmdline", "create_time"]):
    if process.info["cmdline"] and "BucketActor" in process.info["cmdline"][0]:
        print(process.pid, process.info["create_time"], sep=":")
"""


class Store:
    def __init__(self, kubectl: Kubectl, image: str) -> None:
        self.kubectl = kubectl
        self.image = image

    @property
    def url(self) -> str:
        return f"http://{SERVICE}.{self.kubectl.namespace}:8000"

    def _command_line(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "kuberay", *arguments, "--namespace", self.kubectl.namespace]

    def command(self, *arguments: str, timeout_s: float = 120.0, status: int = 0, token: str = "") -> str:
        """Run `python -m kuberay …`, with that token where it needs one; what it prints."""
        done = subprocess.run(
            self._command_line(arguments),
            cwd=ROOT,
            env=os.environ | ({"CLOUD_STORAGE_TOKEN": token} if token else {}),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == status, f"{' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    @contextmanager
    def command_under_way(self, *arguments: str, timeout_s: float) -> Iterator[list[str]]:
        """Run `python -m kuberay …` while in here, to its good end; the list then holds what it printed."""
        process = subprocess.Popen(
            self._command_line(arguments),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed: list[str] = []
        try:
            yield printed
            printed.append(process.communicate(timeout=timeout_s)[0])
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, f"{' '.join(arguments)}:\n{printed[0]}"

    def http(self, path: str) -> Any:
        """GET through the API server's proxy."""
        prefix = f"/api/v1/namespaces/{self.kubectl.namespace}/services/{SERVICE}:8000/proxy"
        return json.loads(self.kubectl.run("get", "--raw", prefix + path))

    def topology(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.http("/topology")
        return answer

    def rayservice(self) -> dict[str, Any]:
        return self.kubectl.get("rayservice", "cloud-storage")

    def raycluster(self) -> dict[str, Any]:
        (only,) = self.kubectl.get("raycluster")["items"]
        found: dict[str, Any] = only
        return found

    def bucket_pod(self, bucket_id: int) -> dict[str, Any]:
        return self.kubectl.pod(f"ray.io/group=bucket-{bucket_id}")

    def whole(self, buckets: int = 2, directories: int = 2) -> bool:
        """Whether every pod is ready and every bucket serves."""
        kubectl = self.kubectl
        if not (
            kubectl.ready("ray.io/node-type=head", 1)
            and kubectl.ready("ray.io/group=directory", directories)
            and all(kubectl.ready(f"ray.io/group=bucket-{bucket_id}", 1) for bucket_id in range(buckets))
        ):
            return False
        try:
            return all(bucket["reachable"] for bucket in self.topology()["buckets"])
        except AssertionError:
            return False  # no directory answers yet

    def wait_until_whole(self, buckets: int = 2) -> None:
        until(lambda: self.whole(buckets), "every pod to be ready and every bucket to serve", timeout_s=180)

    def bucket_process(self, pod: str) -> str:
        """Process id and start of the bucket actors in a pod; empty where there is none."""
        return self.kubectl.exec(pod, "python", "-c", _ACTORS).strip()

    def lives(self) -> dict[str, tuple[str, int, str]]:
        """Of every Ray pod: its id, how often it was restarted, and which bucket's process runs in it."""
        return {
            name_of(pod): (pod["metadata"]["uid"], restarts_of(pod), self.bucket_process(name_of(pod)))
            for pod in self.kubectl.pods(RAY_PODS)
        }
