"""Where the process of a command begins. Python's own answer to Ctrl-C is a traceback, so until the commands are there, which
takes a moment, it ends the process as it ends any other."""

from __future__ import annotations

import signal


def main(prog_name: str | None = None) -> None:
    """`cloud-storage`, and `python -m serve_app`."""
    before = signal.getsignal(signal.SIGINT)
    heard = before is signal.default_int_handler  # else whoever started it has it ignored
    if heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from serve_app.cli.main import app

    if heard:
        signal.signal(signal.SIGINT, before)
    app(prog_name=prog_name)
