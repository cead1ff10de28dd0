"""Running the client's commands: in this process for speed, and as a process for pipes and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from typer.testing import CliRunner

from cloud_storage.commands.app import client_app
from tests.client.served import Served

# Whoever runs the tests in the background may have them ignore Ctrl-C: what they start would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Typed alone, without what the environment of the tests says.
_RUNNER = CliRunner(env={"CLOUD_STORAGE_TOKEN": None, "COLUMNS": "200", "TERM": "dumb"})


def run(store: Served | str, *words: str, stdin: bytes | str | None = None) -> Any:
    """Its result: exit_code, stdout, stdout_bytes, stderr."""
    url = store if isinstance(store, str) else store.url
    result = _RUNNER.invoke(client_app, list(words), input=stdin, env={"CLOUD_STORAGE_URL": url})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def process(store: Served | str, *words: str, **options: Any) -> subprocess.Popen[bytes]:
    """A process of `python -m cloud_storage`, with pipes."""
    url = store if isinstance(store, str) else store.url
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOUD_STORAGE_")}
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, "-m", "cloud_storage", *words],
        env={**environment, "CLOUD_STORAGE_URL": url, "COLUMNS": "200", **options.pop("env", {})},
        **{**pipes, **options},
    )
