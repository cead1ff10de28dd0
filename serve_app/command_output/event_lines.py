"""The store's own events in the lines of a log: finding them, and showing each as a line."""

from __future__ import annotations

import json
from typing import Any


def parse_event(line: str) -> dict[str, Any] | None:
    """The fields of an event of ours in a log line, whatever Ray wrote before it; None for any other line."""
    start = line.find('{"time":')
    if start < 0:
        return None
    try:
        fields = json.loads(line[start:])
        return dict(fields) if {"time", "level", "event"} <= fields.keys() else None
    except ValueError:
        return None


def format_event(fields: dict[str, Any]) -> str:
    """An event in one line for a terminal."""
    rest = " ".join(
        f"{name}={value}" for name, value in fields.items() if name not in ("time", "level", "event", "traceback")
    )
    return f"{fields['time'][11:19]} {fields['level'].lower()}: {fields['event']} {rest}"
