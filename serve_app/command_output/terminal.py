"""What the commands show: plain lines where the output is kept, a line that changes in place on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.status import Status

from serve_app.command_output.move_progress import Share, drawn

_WIDEST = 1000


class Terminal:
    """Standard output, and standard error for warnings."""

    def __init__(self, out: Console | None = None, err: Console | None = None) -> None:
        self._out = out or Console(highlight=False)
        self._err = err or Console(highlight=False, stderr=True)
        self._status: Status | None = None
        self._shown = ""

    def say(self, text: str) -> None:
        """A line that stays."""
        self._out.print(escape(text), soft_wrap=True)

    def good(self, text: str) -> None:
        """The line that says that all went well."""
        self._out.print(f"[bold green]{escape(text)}[/]", soft_wrap=True)

    def warn(self, text: str) -> None:
        """A line about something that is not as it should be."""
        self._err.print(f"[yellow]warning:[/] {escape(text)}", soft_wrap=True)

    def hint(self, text: str) -> None:
        """A line for whoever reads along: not part of the output, which may be kept or piped."""
        self._err.print(escape(text), soft_wrap=True)

    def draw(self, renderable: RenderableType) -> None:
        """A table or the like, as wide as it is: a terminal folds long lines, and a file keeps them."""
        wide = Console(file=self._out.file, width=_WIDEST, force_terminal=self._out.is_terminal, highlight=False)
        wide.print(renderable, width=Measurement.get(wide, wide.options, renderable).maximum)

    def raw(self, text: str) -> None:
        """Text for other programs, as it is."""
        self._out.out(text, highlight=False, end="")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While inside, `progress` has a place to show itself."""
        self._shown = ""
        if not self._out.is_terminal:
            yield
            return
        with self._out.status("") as self._status:
            try:
                yield
            finally:
                self._status = None

    def progress(self, text: str, share: Share | None = None) -> None:
        """What is waited for, and how much of it is done: a line, with a bar below it, that changes in place; where the
        output is kept, a new line when the text is another or a further tenth is done."""
        if self._status is not None:
            self._status.update(escape(text) if share is None else drawn(text, share))
            return
        shown = text if share is None else f"{text} {share.tenths}"
        if shown != self._shown:
            self._shown = shown
            self.say(text if share is None else f"{text}: {share}")
