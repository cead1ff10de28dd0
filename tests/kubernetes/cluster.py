"""kubectl, as the tests use it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Kubectl:
    """One namespace of the cluster that KUBECONFIG names."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *arguments: str, stdin: str | None = None, timeout_s: float = 60.0) -> str:
        """What kubectl prints.

        Raises:
            AssertionError: it failed; with what it said.
        """
        done = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}"
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("get", *arguments, "--output=json"))
        return found

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The pods that are not being deleted, oldest first."""
        items = self.get("pods", f"--selector={selector}")["items"]
        alive = [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]
        return sorted(alive, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def pod(self, selector: str) -> dict[str, Any]:
        """The only pod of that kind, once there is one."""
        return until(lambda: self.pods(selector), f"a pod with {selector}")[0]

    def ready(self, selector: str, count: int) -> bool:
        pods = self.pods(selector)
        return len(pods) == count and all(map(is_ready, pods))

    def exec(self, pod: str, *command: str, stdin: str | None = None, timeout_s: float = 60.0) -> str:
        extra = ("--stdin",) if stdin is not None else ()
        return self.run("exec", *extra, pod, "--", *command, stdin=stdin, timeout_s=timeout_s)


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def name_of(document: dict[str, Any]) -> str:
    return str(document["metadata"]["name"])


def restarts_of(pod: dict[str, Any]) -> int:
    return sum(int(each["restartCount"]) for each in pod["status"].get("containerStatuses") or [])


def until(condition: Callable[[], T], what: str, timeout_s: float = 120.0, pause_s: float = 0.25) -> T:
    """The first value of the condition that is true."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"waited {timeout_s:.0f} s in vain for {what}"
        time.sleep(pause_s)
    return value
