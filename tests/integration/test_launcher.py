"""`make run` and `python -m serve_app run`: start, stop, and every mistake answered with one sentence."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from harness.reconfigure import settled, wait_for_topology
from harness.running_store import ROOT, RunningStore
from tests.support.commands import check_whole
from tests.support.moves import check_all, put_all

pytestmark = pytest.mark.ray


def refusal(store: RunningStore) -> str:
    """What a start that can't work says: exactly one sentence on the way out, status 1, and no process left."""
    store.launch()
    assert store.process is not None
    assert store.process.wait(60) == 1
    lines = [line for line in store.output.splitlines() if line]
    assert len(lines) == 1, store.output
    assert lines[0].startswith("error: ")
    return lines[0]


def test_a_taken_port(tmp_path: Path) -> None:
    store = RunningStore(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", store.port))
        taken.listen()
        assert f"127.0.0.1:{store.port} can't be used: Address already in use" in refusal(store)


def test_an_unwritable_data_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = RunningStore(tmp_path, args={"data_dir": str(tmp_path / "file" / "data")})
    assert f"{tmp_path}/file/data can't be written: Not a directory" in refusal(store)


def test_a_data_folder_in_use(tmp_path: Path, store: RunningStore) -> None:
    second = RunningStore(tmp_path, args={"data_dir": str(store.data_dir)})
    assert f"the data folder {store.data_dir} is in use" in refusal(second)
    with store.client() as client:
        assert client.get("/health").status_code == 200, "the first one goes on"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d["applications"][0]["args"].update(data_dri="x"), "args.data_dri: unknown setting"),
        (lambda d: d["applications"][0]["args"].pop("data_dir"), "args.data_dir: Field required"),
        (lambda d: d["applications"][0]["args"].update(limits={"cache_bytes": 5}), "args.limits.cache_bytes"),
        (lambda d: d["applications"][0]["args"].update(log_level="LOUD"), "args.log_level"),
        (lambda d: d["applications"][0]["deployments"][0].update(user_config={"bucket_count": 0}), "bucket_count"),
        (lambda d: d["applications"][0]["deployments"][0].update(user_config={"bucket_count": 65}), "bucket_count"),
        (lambda d: d["applications"][0]["deployments"][0].update(user_config={"buckets": 2}), "user_config.buckets"),
        (lambda d: d["applications"][0].update(name="other"), "no application named cloud-storage"),
        (lambda d: d["http_options"].update(port="eight thousand"), "http_options.port"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, change: Any, sentence: str) -> None:
    store = RunningStore(tmp_path)
    change(store.document)
    assert sentence in refusal(store)


def test_a_configuration_that_is_none(tmp_path: Path) -> None:
    for number, text in enumerate(("{", "just text", "")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        ended = subprocess.run(
            [sys.executable, "-m", "serve_app", "run", "--config", str(path)], cwd=ROOT, capture_output=True, text=True
        )
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"error: {path} is not")
        assert ended.stderr.count("\n") == 1


def test_make_run_in_a_terminal_and_ctrl_c_and_again(tmp_path: Path) -> None:
    """As a user types it: a terminal, `make run`, Ctrl-C; exit status 0, no process left, and the data is there again.

    The second time with another number of buckets than the store was left with: it comes up, and moves.
    """
    store = RunningStore(tmp_path, bucket_count=2)
    store.config.write_text(yaml.safe_dump(store.document))
    values = {f"launched-{n}": f"value {n}" for n in range(500)}
    with make_run(store):
        with store.client() as client:
            assert client.get("/get/launched-0").status_code == 404
        put_all(store, values)
    store.document["applications"][0]["deployments"][0]["user_config"] = {"bucket_count": 3}
    store.config.write_text(yaml.safe_dump(store.document))
    with make_run(store) as pid:
        check_all(store, values)
        wait_for_topology(store, settled(3))
        check_all(store, values, homes=3)
        check_whole(psutil.Process(pid).children(recursive=True), len(values))


@contextmanager
def make_run(store: RunningStore) -> Iterator[int]:
    """`make run` in a terminal, stopped by Ctrl-C; its process id."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execvp("make", ["make", "--no-print-directory", "run", f"ARGS=--config {store.config}"])
    output = read_until(terminal, b"Ctrl-C stops it")
    assert store.url.encode() + b"/docs" in output
    yield pid
    started = psutil.Process(pid).children(recursive=True)
    assert len(started) > 8, "Ray and the store"
    os.write(terminal, b"\x03")
    output = read_until(terminal, b"Stopped.")
    assert b"Traceback" not in output
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    os.close(terminal)
    assert [process for process in started if runs(process)] == []


def test_ctrl_c_during_start(tmp_path: Path) -> None:
    store = RunningStore(tmp_path)
    store.launch()
    assert store.process is not None
    deadline_s = time.monotonic() + 60
    while len(store.processes()) < 8:  # Ray is coming up
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    started = store.processes()
    store.process.send_signal(signal.SIGINT)
    assert store.process.wait(60) == 0
    assert "Traceback" not in store.output
    assert "Stopped." in store.output
    assert [process for process in started if runs(process)] == []


def read_until(terminal: int, text: bytes, timeout_s: float = 120.0) -> bytes:
    output = b""
    deadline_s = time.monotonic() + timeout_s
    while text not in output:
        assert time.monotonic() < deadline_s, output.decode(errors="replace")
        try:
            output += os.read(terminal, 65536)
        except OSError:
            raise AssertionError(f"the terminal closed: {output.decode(errors='replace')}") from None
    return output


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
