"""Showing what matters of a running store's log: its own structured events from warnings on."""

from __future__ import annotations

import json
from pathlib import Path

import typer

_SHOWN_LEVELS = frozenset({"WARNING", "ERROR", "CRITICAL"})
_MAX_BYTES_AT_ONCE = 1024 * 1024


class LogFollower:
    """Reads a growing log from its start and shows each event once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def show_new(self) -> None:
        """Show the events that were added since the last call."""
        with self._path.open("rb") as log:
            log.seek(self._position)
            data = log.read(_MAX_BYTES_AT_ONCE)
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole) or (len(data) if len(data) == _MAX_BYTES_AT_ONCE else 0)
        for line in whole.decode(errors="replace").splitlines():
            shown = event_line(line)
            if shown:
                typer.echo(shown, err=True)


def event_line(line: str) -> str:
    """An event of ours in a log line, as text for a terminal; empty for any other line and for those of no concern."""
    start = line.find('{"time":')
    if start < 0:
        return ""
    try:
        fields = json.loads(line[start:])
    except ValueError:
        return ""
    if fields.get("level") not in _SHOWN_LEVELS:
        return ""
    rest = " ".join(
        f"{name}={value}" for name, value in fields.items() if name not in ("time", "level", "event", "traceback")
    )
    return f"{fields['time'][11:19]} {fields['level'].lower()}: {fields['event']} {rest}"
