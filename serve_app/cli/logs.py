"""Showing what matters of a running store's log: its own structured events from warnings on."""

from __future__ import annotations

from pathlib import Path

import typer

from serve_app.command_output.event_lines import format_event, parse_event

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
    fields = parse_event(line)
    return format_event(fields) if fields is not None and fields["level"] in _SHOWN_LEVELS else ""
