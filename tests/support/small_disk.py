"""A small file system of its own for tests of a full disk: a tmpfs, which takes root to mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1024 * 1024
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs takes root")


@contextmanager
def small_disk(mount: Path, size_bytes: int) -> Iterator[None]:
    """Mount an empty file system of that size."""
    mount.mkdir(parents=True)
    mounted = _mount(mount, f"size={size_bytes}")
    if mounted.returncode:
        pytest.skip(f"tmpfs can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


def enlarge(mount: Path, size_bytes: int) -> None:
    """Give a mounted one another size, as an operator grows a volume."""
    assert _mount(mount, f"remount,size={size_bytes}").returncode == 0


def fill(path: Path, leave_bytes: int = 0) -> None:
    """Let a file take all of the disk's space but this much; of everything, down to the last block."""
    with path.open("wb", buffering=0) as filler:
        while free_bytes(path.parent) > leave_bytes:
            filler.write(b"\0" * min(MIB, free_bytes(path.parent) - leave_bytes))


def free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _mount(mount: Path, options: str) -> subprocess.CompletedProcess[str]:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mount)]
    return subprocess.run(command, capture_output=True, text=True)
