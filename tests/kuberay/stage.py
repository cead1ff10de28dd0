"""A Session on a FakeKubernetes, with an operator at work whenever somebody waits, and what was shown."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from kuberay.session import Session
from serve_app.command_output.terminal import Terminal
from tests.kuberay.fake_kubernetes import FakeClock, FakeKubernetes
from tests.kuberay.fake_operator import FakeOperator


@dataclass
class Stage:
    """All that a command works on."""

    fake: FakeKubernetes
    operator: FakeOperator
    clock: FakeClock
    session: Session
    out: io.StringIO
    err: io.StringIO

    def settle(self, steps: int = 10) -> None:
        """Let the operator work."""
        for _ in range(steps):
            self.operator.step()


@contextmanager
def stage() -> Iterator[Stage]:
    """An empty cluster."""
    fake = FakeKubernetes()
    operator = FakeOperator(fake)
    clock = FakeClock(operator.step)
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(_console(out), _console(err))
    with fake.served() as client:
        yield Stage(fake, operator, clock, Session(client, "cloud-storage", terminal, clock), out, err)


def _console(file: io.StringIO) -> Console:
    return Console(file=file, width=250, highlight=False, force_terminal=False)
