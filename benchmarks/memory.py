"""Resident memory of each process that takes part."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.stage import Stage


@dataclass(frozen=True)
class Resident:
    """A process's resident memory, now and at its highest since it started."""

    process: str
    resident_bytes: int
    peak_bytes: int


_REPLICAS = {
    "ServeReplica:cloud-storage:Directory": "directory",
    "ServeReplica:empty:": "empty handler",
    "ServeReplica:obvious:": "obvious ingress",
    "ServeReplica:redis:": "Redis ingress",
}


def residents(stage: Stage) -> list[Resident]:
    """The processes of all systems by name, and last what Ray and Serve take beside them, summed up."""
    bucket_names = {stage.store.bucket_pid(bucket_id): f"bucket {bucket_id}" for bucket_id in range(stage.bucket_count)}
    named: dict[str, list[tuple[int, int]]] = {}
    rest: list[tuple[int, int]] = []
    for process in stage.store.processes():
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            sizes = _sizes(process.pid)
            title = " ".join(process.cmdline())
            name = bucket_names.get(process.pid) or next((_REPLICAS[part] for part in _REPLICAS if part in title), "")
            if process.name() == "haproxy":
                name = "HAProxy"
            if "ServeReplica:loader:" in title:
                continue
            if name:
                named.setdefault(name, []).append(sizes)
            else:
                rest.append(sizes)
    for name, child in stage.back_ends.items():
        named[name] = [_sizes(child.pid)]
    found = [_sum(name, sizes) for name, sizes in sorted(named.items())]
    return [*found, _sum(f"Ray and Serve ({len(rest)} processes)", rest)]


def bucket_resident(stage: Stage, bucket_id: int) -> Resident:
    """A bucket's process."""
    pid = stage.store.bucket_pid(bucket_id)
    assert pid is not None, f"bucket {bucket_id} has no process"
    return Resident(f"bucket {bucket_id}", *_sizes(pid))


def _sum(name: str, sizes: list[tuple[int, int]]) -> Resident:
    return Resident(name, sum(size for size, _ in sizes), sum(peak for _, peak in sizes))


def _sizes(pid: int) -> tuple[int, int]:
    """(resident, highest resident) in bytes, from /proc/PID/status."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return _kib(fields.get("VmRSS")), _kib(fields.get("VmHWM"))


def _kib(field: str | None) -> int:
    return 0 if field is None else int(field.split()[0]) * 1024
