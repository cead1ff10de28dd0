"""The load (load.py) and the filling (fill.py), run in a pod of the cluster, and what they tell afterwards."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kubernetes.cluster import Kubectl, is_ready, until

NAME = "load"
REQUESTS_PER_S = 300
_SCRIPT = Path(__file__).with_name("load.py")
_FILL = Path(__file__).with_name("fill.py")
_FILL_TIMEOUT_S = 300.0


@dataclass
class Account:
    """What load.py tells; filled in when the load has ended."""

    told: dict[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.told["failures"]
        return found

    def __getitem__(self, name: str) -> Any:
        return self.told[name]


def start_pod(kubectl: Kubectl, image: str) -> None:
    """A pod to run loads in: none of the store's, so under no policy of its own."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "load",
                    "image": image,
                    "command": ["sleep", "infinity"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
                }
            ],
        },
    }
    kubectl.run("apply", "--filename=-", stdin=json.dumps(pod))
    until(lambda: is_ready(kubectl.get("pod", NAME)), "the pod of the load")


@contextmanager
def load(kubectl: Kubectl, bucket_count: int, url: str) -> Iterator[Account]:
    """Run the load in the background while in here; afterwards the account is complete, with every write read back.

    bucket_count: 0 where it changes meanwhile.
    """
    command = ["kubectl", "--namespace", kubectl.namespace, "exec", "--stdin", NAME, "--"]
    account = Account()
    kubectl.exec(NAME, "rm", "-f", "/tmp/stop")
    process = subprocess.Popen(
        [*command, "python", "-u", "-", url, str(bucket_count), str(REQUESTS_PER_S)],
        stdin=_SCRIPT.open(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "started"
        yield account
    finally:
        kubectl.exec(NAME, "touch", "/tmp/stop")
        output, _ = process.communicate(timeout=150)
    account.told = json.loads(output.strip().splitlines()[-1])


def fill(kubectl: Kubectl, url: str, doing: str, records: int, value_bytes: int) -> dict[str, Any]:
    """Put this many records, or `check` that they are all there; what fill.py tells."""
    arguments = ("python", "-u", "-", url, doing, str(records), str(value_bytes))
    output = kubectl.exec(NAME, *arguments, stdin=_FILL.read_text(), timeout_s=_FILL_TIMEOUT_S)
    told: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return told
