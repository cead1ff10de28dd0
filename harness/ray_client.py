"""Programs that join the Ray of a running store: its address, and what they are started with (docs/python.md)."""

from __future__ import annotations

import os
from collections.abc import Iterable

import psutil


def environment() -> dict[str, str]:
    """Ray's token is shown, and this machine's own address is the loopback one, as the store's Ray has it."""
    return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def gcs_address(processes: Iterable[psutil.Process]) -> str:
    """Where the control service of the Ray among these processes listens."""
    for process in processes:
        try:
            arguments = process.cmdline()
        except psutil.Error:
            continue  # it has just ended
        for argument in arguments:
            if argument.startswith("--gcs-address="):
                return argument.partition("=")[2]
    raise AssertionError("no raylet among these processes")
