"""Handing a changed configuration to a running store, as an operator does, and waiting for what comes of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from harness.running_store import RunningStore


def deploy(store: RunningStore, tmp_path: Path, document: dict[str, Any]) -> None:
    """`serve deploy` a changed configuration, as an operator does."""
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(document))
    said = re.findall(r"dashboard at\D*?(http://[\d.:]+)", re.sub(r"\x1b\[\d+m", "", store.log))
    assert said, store.log[:2000]  # a line for each start; the last one counts
    done = subprocess.run(
        [sys.executable, "-m", "ray.serve.scripts", "deploy", str(path), "--address", said[-1]],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "RAY_AUTH_MODE": "token"},  # Ray's own default for a cluster, but not for its clients
    )
    assert done.returncode == 0, done.stdout + done.stderr


def wait_for_topology(store: RunningStore, expected: Any, timeout_s: float = 180.0) -> None:
    """Wait until every one of several answers of /topology (there may be several directories) is as expected."""
    deadline_s = time.monotonic() + timeout_s
    in_a_row = 0
    body: Any = None
    other = (
        "none"  # the last that was not as expected: where directories differ, the last of all may be as it should be
    )
    while in_a_row < 10:
        try:
            with store.client() as client:  # a new connection each time, so that it reaches any directory
                answer = client.get("/topology")
            body = answer.json() if answer.status_code in (200, 503) else answer.text
            in_a_row = in_a_row + 1 if answer.status_code == 200 and expected(body) else 0
            told = f"{answer.status_code} {body}"
        except httpx.TransportError as error:
            in_a_row, told = 0, repr(error)  # it was killed just now
        if not in_a_row:
            other = f"{timeout_s - (deadline_s - time.monotonic()):.1f} s: {told}"
        assert time.monotonic() < deadline_s, f"{in_a_row} in a row, the last one {body}; the last other one {other}"
        time.sleep(0.05)


def settled(count: int) -> Any:
    return lambda body: (body["bucket_count"], body["phase"], body["problem"]) == (count, "stable", "")
