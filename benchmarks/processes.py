"""Processes that the benchmark starts beside the store: made ready, and ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from benchmarks.failure import BenchmarkFailed

_READY_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0


@contextlib.contextmanager
def server(
    command: list[str], port: int, output: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, from when it listens on the port until the block ends.

    Raises:
        BenchmarkFailed: it ended or did not listen in time.
    """
    with output.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # a terminal's Ctrl-C is for us; we end it in our order
        )
    try:
        _wait_listening(process, port, output)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_listening(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise BenchmarkFailed(f"{process.args!r} ended: {output.read_text(errors='replace')[-500:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise BenchmarkFailed(f"{process.args!r} did not listen on port {port} in time")


def stop_signals_raise() -> None:
    """From now on a polite kill unwinds the stack as Ctrl-C does, so that everything started is stopped."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, stop)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Don't let a second Ctrl-C stop the stopping half-way."""
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(name, signal.SIG_IGN) for name in names]
    try:
        yield
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)
