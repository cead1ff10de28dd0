"""A real store for tests and benchmarks: `python -m serve_app run` on a free port with a data folder of its own.

The same launcher that users type, so what the tests see is what they get. Starting takes some 10 s: share one where state
allows (the fixture `store` in tests/conftest.py does).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from serve_app.cli.environment import free_ports

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 120.0


def free_port() -> int:
    """A TCP port that nothing listens on just now, and nothing is given by chance soon."""
    return free_ports(1)[0]


def _kill(pid: int) -> None:
    process = psutil.Process(pid)
    process.kill()
    _, alive = psutil.wait_procs([process], timeout=10)
    assert not alive, f"{pid} outlived kill -9"


class RunningStore:
    """Configuration, process and addresses of one store. Use as a context manager, or `start` and `stop`."""

    def __init__(
        self,
        folder: Path,
        *,
        bucket_count: int = 2,
        directories: int = 1,
        args: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """folder gets the configuration, the launcher's output and, unless args say otherwise, the data."""
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data_dir = Path((args or {}).get("data_dir", folder / "data"))
        self.config = folder / "serve_config.yaml"
        self.output_path = folder / "run.out"
        self.environment = environment or {}
        self.document = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
        self.document["http_options"]["port"] = self.port
        application = self.document["applications"][0]
        application["args"] = {"data_dir": str(self.data_dir), **(args or {})}
        application["deployments"][0]["num_replicas"] = directories
        application["deployments"][0]["user_config"] = {"bucket_count": bucket_count}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RunningStore:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until the launcher says that it is up."""
        self.launch()
        self.wait_until_up()

    def launch(self) -> None:
        """Start the launcher and return at once."""
        self.config.write_text(yaml.safe_dump(self.document))
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "serve_app",
                    "run",
                    "--config",
                    str(self.config),
                    "--env-file",
                    str(ROOT / "serve.env"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        """Wait for the launcher's word that the API answers."""
        assert self.process is not None
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while "Ctrl-C stops it" not in self.output:
            assert self.process.poll() is None, f"the launcher ended:\n{self.output}\n{self.log[-5000:]}"
            assert time.monotonic() < deadline_s, f"not up in time:\n{self.output}\n{self.log[-5000:]}"
            time.sleep(0.1)

    def stop(self) -> int:
        """Stop it as Ctrl-C does; the launcher's exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    @property
    def output(self) -> str:
        """What the launcher has printed."""
        return self.output_path.read_text(errors="replace") if self.output_path.exists() else ""

    @property
    def log(self) -> str:
        """What Ray, Serve and the store have logged."""
        path = self.data_dir / "serve.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client for this store."""
        return httpx.Client(base_url=self.url, timeout=30.0, **options)

    # -- its processes -----------------------------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """All processes below the launcher."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def bucket_pid(self, bucket_id: int) -> int | None:
        """The process that has bucket i's database open, or None while there is none."""
        lock = str(self.data_dir / f"bucket-{bucket_id}" / "db" / "LOCK")
        for process in self.processes():
            try:
                handles = list(Path(f"/proc/{process.pid}/fd").iterdir())
                if any(str(handle.readlink()) == lock for handle in handles):
                    return process.pid
            except OSError:
                continue  # it ended, or its files did, while we looked
        return None

    def bucket_processes(self) -> set[int]:
        """The processes that have any bucket's database open."""
        ids = range(len(list(self.data_dir.glob("bucket-*"))) + 1)
        return {pid for bucket_id in ids if (pid := self.bucket_pid(bucket_id)) is not None}

    def directory_pids(self) -> list[int]:
        """The processes of the directory's replicas."""
        found = []
        for process in self.processes():
            try:
                if "ServeReplica:cloud-storage:Directory" in " ".join(process.cmdline()):
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found

    def kill_bucket(self, bucket_id: int) -> int:
        """`kill -9` bucket i's process, and wait until it is gone; its id."""
        pid = self.bucket_pid(bucket_id)
        assert pid is not None, f"bucket-{bucket_id} has no process"
        _kill(pid)
        return pid

    def kill_directory(self, which: Callable[[Sequence[int]], int]) -> int:
        """`kill -9` the directory that `which` picks by its process id, and wait until it is gone; its id."""
        pid = which(self.directory_pids())
        _kill(pid)
        return pid

    def kill_everything(self) -> None:
        """`kill -9` the launcher and all of Ray, and wait until they are gone. `start` brings the store back."""
        assert self.process is not None
        # The launcher first: it would stop the rest politely.
        everything = [psutil.Process(self.process.pid), *self.processes()]
        for process in everything:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)
        _, alive = psutil.wait_procs(everything, timeout=10)
        assert not alive, alive

    def wait_reachable(self, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait until every bucket is reachable; the answer of /topology."""
        deadline_s = time.monotonic() + timeout_s
        with self.client() as client:
            while True:
                answer = client.get("/topology")
                if answer.status_code == 200:
                    body: dict[str, Any] = answer.json()
                    if all(bucket["reachable"] for bucket in body["buckets"]):
                        return body
                assert time.monotonic() < deadline_s, f"not all reachable: {answer.text}\n{self.log[-3000:]}"
                time.sleep(0.05)
