"""How much memory a process has used at most, from a moment on (proc(5): clear_refs and VmHWM)."""

from __future__ import annotations

from pathlib import Path

MIB = 1024 * 1024


class PeakMemory:
    """The resident memory of processes from now on: what each has at most beyond what it has now."""

    def __init__(self, pids: list[int]) -> None:
        assert pids, "there is a process to measure"
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._before = {pid: _status_bytes(pid, "VmHWM") for pid in pids}

    def growth_mib(self) -> float:
        """Of the process that grew most."""
        return max(self.growth_bytes(pid) for pid in self._before) / MIB

    def growth_bytes(self, pid: int) -> int:
        """Of one of them."""
        return _status_bytes(pid, "VmHWM") - self._before[pid]


def resident_bytes(pid: int) -> int:
    """What a process has in memory now."""
    return _status_bytes(pid, "VmRSS")


def _status_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/status has no {field}")
