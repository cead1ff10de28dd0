"""How far long work is, on a terminal: how much, how fast, and how long it will take. Elsewhere nothing is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

#: Told how much is done, and a word on it.
Show = Callable[[int, str], None]


@contextmanager
def progress(doing: str, total: int | None, *, in_bytes: bool) -> Iterator[Show]:
    """A bar on standard error, which goes when it is done. total: of what `Show` is told, where that is known."""
    if not sys.stderr.isatty():
        yield lambda done, note: None
        return
    with _bar(in_bytes) as bar:
        task = bar.add_task(doing, total=total, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)


def _bar(in_bytes: bool) -> Progress:
    from rich.console import Console  # a fifth of the time that a short command takes
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """So many a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TransferSpeedColumn() if in_bytes else Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )
