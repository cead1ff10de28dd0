"""The store's commands, run as an operator types them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable

import psutil

from harness.ray_client import gcs_address
from harness.running_store import ROOT


def typed(processes: Iterable[psutil.Process], *command: str, stdin: str = "") -> tuple[int, str]:
    """Run a command against the Ray among these processes; its exit status and all that it printed.

    Other Rays may run on this machine, so this one is named.
    """
    done = subprocess.run(
        [sys.executable, "-m", "serve_app", *command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": gcs_address(processes), "COLUMNS": "200"},
    )
    return done.returncode, done.stdout + done.stderr


def check_whole(processes: Iterable[psutil.Process], keys: int) -> None:
    """`verify` reads every record of every bucket: this many keys in all, each at home, none twice, and exactly counted."""
    status, said = typed(processes, "verify")
    assert status == 0, said
    assert f"whole: all {keys:,} keys are at home, and every count is exact" in said, said
