"""`python -m serve_app run`, which is `make run`: the store on one machine, from nothing to answering and back.

Everything that can be known to fail is looked at first, so that a mistake costs a sentence and not a Ray cluster. Then
`serve run` is started as a child, and the address is printed once the API really answers. Ray starts many processes, some of
which outlive their parents; this process adopts those (prctl(2), PR_SET_CHILD_SUBREAPER), so that it can leave none behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import BinaryIO

import httpx
import psutil
import typer

from serve_app.cli import defaults, environment, preflight
from serve_app.cli.logs import LogFollower
from serve_app.command_output.failure import Failure
from serve_app.command_output.token import bearer, how_to_go_on, own_token, wants_another

Command = Callable[[], int]

START_TIMEOUT_S = 180.0
#: Once the store answers, how long its slowest buckets are waited for.
WAIT_FOR_BUCKETS_S = 20.0
#: How long `serve run` gets to shut down by itself before its processes are ended one by one.
STOP_TIMEOUT_S = 10.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class _StopRequested(Exception):
    """Ctrl-C, or a polite kill."""


def run(config: Path, env_file: Path) -> int:
    """Run until Ctrl-C; the exit status.

    Raises:
        Failure: it can't start, or ended by itself.
    """
    os.umask(environment.UMASK)  # for all that Ray, Serve and the buckets make as well
    environment.tighten_ray_token()
    _adopt_orphans()
    with _own_foreground(), _stop_signals_raise():
        try:
            return _run(config, env_file)
        except _StopRequested:
            typer.echo("\nStopped before the store was up.")
            return 0


def _run(config: Path, env_file: Path) -> int:
    config = defaults.found(config)
    plan = preflight.check(config, env_file)
    own_token()  # one that can't be is said before anything is started
    typer.echo(f"Starting Ray and the store as {config} says; the data is in {plan.data_dir}")
    log_path = plan.data_dir / "serve.log"
    with _create(log_path) as log:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter's serve
            [sys.executable, "-m", "ray.serve.scripts", "run", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=plan.environment,
            start_new_session=True,
            preexec_fn=_stop_when_parent_dies,
        )
    follower = LogFollower(log_path)
    try:
        buckets = _wait_until_up(child, plan.url, log_path)
        typer.echo(f"The store is up with {buckets} buckets.\n  API      {plan.url}\n  docs     {plan.url}/docs")
        typer.echo(f"  console  {plan.url}/console\n  log      {log_path}\nCtrl-C stops it; the data stays.")
        while child.poll() is None:
            follower.show_new()
            time.sleep(0.5)
        raise Failure(f"the store ended by itself; {log_path} says why")
    except _StopRequested:
        typer.echo("\nStopping …")
        return 0
    finally:
        _end_everything(child)
        typer.echo("Stopped.")


def _create(path: Path) -> BinaryIO:
    try:
        log = path.open("wb")
        os.fchmod(log.fileno(), 0o600)  # an earlier release left it open to others
        return log
    except OSError as error:
        raise Failure(f"{path} can't be written: {error.strerror}") from None


def _wait_until_up(child: subprocess.Popen[bytes], url: str, log_path: Path) -> int:
    """Wait for a real answer of the API: the number of buckets."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    trouble = "nothing answers yet"
    up_s = 0.0
    with httpx.Client(timeout=2.0, headers=bearer()) as client:
        while time.monotonic() < deadline_s:
            if child.poll() is not None:
                raise Failure(f"the store did not start: {_last_error(log_path)} (all of it is in {log_path})")
            if "DEPLOY_FAILED" in _tail(log_path):
                raise Failure(f"the application could not be deployed; {log_path} says why")
            with contextlib.suppress(httpx.HTTPError, ValueError):
                answer = client.get(f"{url}/topology")
                body = answer.json()
                if answer.status_code == 200:
                    up_s = up_s or time.monotonic()
                    away = [bucket for bucket in body["buckets"] if not bucket["reachable"]]
                    if not away or time.monotonic() - up_s > WAIT_FOR_BUCKETS_S:
                        for bucket in away:  # the others serve; what is wrong with these is worth seeing
                            typer.echo(f"warning: bucket-{bucket['bucket_id']}: {bucket['last_error']}", err=True)
                        if body["problem"]:
                            typer.echo(f"warning: {body['problem']}", err=True)
                        return int(body["bucket_count"])
                elif wants_another(answer.status_code):
                    # It answers, and what is open to all says the rest.
                    health = client.get(f"{url}/health")
                    body = health.json()
                    if health.status_code == 200:
                        why = how_to_go_on(answer.json()["detail"], "admin")
                        typer.echo(f"warning: the buckets were not looked at: {why}", err=True)
                        return int(body["bucket_count"])
                    trouble = body["detail"]
                else:
                    trouble = body["detail"]
            time.sleep(0.2)
    raise Failure(f"the store was not up within {START_TIMEOUT_S:.0f} s: {trouble} (log: {log_path})")


def _last_error(log_path: Path) -> str:
    lines = [line.strip() for line in _tail(log_path).splitlines() if "Error" in line or "Exception: " in line]
    return lines[-1] if lines else "it ended without an error message"


def _tail(log_path: Path) -> str:
    with log_path.open("rb") as log:
        log.seek(max(0, log_path.stat().st_size - 64 * 1024))
        return log.read().decode(errors="replace")


# -- processes -------------------------------------------------------------------------------------------------------


def _end_everything(child: subprocess.Popen[bytes]) -> None:
    """Let `serve run` shut down, then end whatever is left of it. A second Ctrl-C must not stop this half-way."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(STOP_TIMEOUT_S)
    # Killing is safe for the data at any moment; what is left has only its own time to lose.
    for end in (psutil.Process.terminate, psutil.Process.kill):
        left = psutil.Process().children(recursive=True)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                end(process)
        psutil.wait_procs(left, timeout=3)
    while psutil.Process().children(recursive=True):  # orphans come to us one generation at a time
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
                process.wait(1)


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _stop_when_parent_dies() -> None:
    """In the child, before it starts: be told like with Ctrl-C if this launcher is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)


@contextlib.contextmanager
def _stop_signals_raise() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _StopRequested

    before = {name: signal.signal(name, stop) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextlib.contextmanager
def _own_foreground() -> Iterator[None]:
    """Take the terminal's Ctrl-C for this process alone while it runs.

    `make` would otherwise get it too, and report an interrupt as a failure however cleanly the store stopped.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
        before = os.tcgetpgrp(terminal)
    except OSError:
        yield  # no terminal
        return
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else handing the terminal back would stop us
    try:
        with contextlib.suppress(OSError):
            if before == os.getpgrp():
                os.setpgid(0, 0)
                os.tcsetpgrp(terminal, os.getpgrp())
        yield
    finally:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(terminal, before)
        os.close(terminal)
