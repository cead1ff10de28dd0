"""The machine that the figures are of, and whether its disk is one: what a synced write costs is the disk's sync."""

from __future__ import annotations

import os
import platform
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.failure import BenchmarkFailed

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_SYNC_BYTES = 512
_SYNC_RUN_S = 1.0


@dataclass(frozen=True)
class Mount:
    """The mounted file system that a folder is on."""

    device: str
    mount_point: str
    kind: str


@dataclass(frozen=True)
class Machine:
    """What a reader needs to compare with a machine of their own."""

    date: str
    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    ray: str
    file_system: str
    #: Appends of 512 B, each followed by fdatasync(2), that the data folder's disk takes in a second.
    fdatasync_per_s: float
    #: Load average of the minute before the run: above some tenths, the machine was not ours alone.
    load_before: float


def mount_of(folder: Path) -> Mount:
    """The mount that the folder is on, from /proc/mounts: the longest mount point above it, and of equals the last."""
    best = Mount("", "", "")
    resolved = folder.resolve()
    for line in Path("/proc/mounts").read_text().splitlines():
        device, raw_point, kind = line.split()[:3]
        point = raw_point.encode().decode("unicode_escape")  # a space is \040
        if resolved.is_relative_to(point) and len(point) >= len(best.mount_point):
            best = Mount(device, point, kind)
    return best


def require_disk(folder: Path, free_bytes: int) -> Mount:
    """The mount of a folder that is fit for data.

    Raises:
        BenchmarkFailed: it is in memory, where a sync costs nothing, or has less free space than that.
    """
    mount = mount_of(folder)
    if mount.kind in _IN_MEMORY:
        raise BenchmarkFailed(
            f"{folder} is on a {mount.kind}, which is memory: synced writes would cost nothing there, so the figures would "
            "be of no store; name a folder on a disk with --data-dir"
        )
    free = shutil.disk_usage(folder).free
    if free < free_bytes:
        raise BenchmarkFailed(
            f"{folder} has {free / 1e9:.1f} GB free, and the benchmark may need {free_bytes / 1e9:.0f} GB; "
            "name another folder with --data-dir"
        )
    return mount


def fdatasync_per_s(folder: Path) -> float:
    """How many appends of 512 B, each synced, the disk below the folder takes in a second. Takes about a second."""
    path = folder / "fdatasync.probe"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        count = 0
        started_s = time.perf_counter()
        while (elapsed_s := time.perf_counter() - started_s) < _SYNC_RUN_S:
            os.write(handle, b"x" * _SYNC_BYTES)
            os.fdatasync(handle)
            count += 1
        return count / elapsed_s
    finally:
        os.close(handle)
        path.unlink()


def describe(folder: Path) -> Machine:
    """This machine, with the disk below the folder."""
    mount = mount_of(folder)
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=psutil.virtual_memory().total / 2**30,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        ray=version("ray"),
        file_system=f"{mount.kind} on {mount.device}",
        fdatasync_per_s=fdatasync_per_s(folder),
        load_before=os.getloadavg()[0],
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.lower().startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
