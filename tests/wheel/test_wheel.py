"""The wheel in an empty environment: the client and its commands without Ray, and with the extra `server` a store that runs.

pip gets what is needed from where it always does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from harness.running_store import ROOT, START_TIMEOUT_S, free_port
from tests.client.served import served

pytestmark = pytest.mark.timeout(600)
_PIP_TIMEOUT_S = 500


class Environment:
    """An empty one, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._bin = folder / "work", folder / "env" / "bin"
        self.folder.mkdir()
        subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True, timeout=120)

    def install(self, *what: str) -> None:
        options = ["install", "--disable-pip-version-check", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
        done = self._run([self._bin / "pip", *options, *what], timeout=_PIP_TIMEOUT_S)
        assert done.returncode == 0, done.stderr

    def run(self, name: str, *arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """A program of the environment."""
        return self._run([self._bin / name, *arguments], stdin, timeout=60, **more)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._bin / name, *arguments],
            cwd=self.folder,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _run(
        self, command: list[Path | str], stdin: str = "", *, timeout: float, **more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._variables() | more,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    @staticmethod
    def _variables() -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
        return kept | {"PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as for a release, from the sources as git has them."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            target = sources / name
            target.parent.mkdir(parents=True, exist_ok=True)
            # Links stay links: what a wheel makes of them is part of the test.
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
    command = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(sources)], capture_output=True, text=True, timeout=_PIP_TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def empty(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


def test_the_client_needs_no_ray(wheel: Path, empty: Environment) -> None:
    empty.install(str(wheel))
    installed = empty.run("pip", "list", "--format", "freeze").stdout.lower()
    assert "cloud-storage" in installed
    for heavy in ("ray", "fastapi", "rocksdict", "httpx", "uvicorn", "kubernetes"):
        assert f"\n{heavy}==" not in installed, heavy
    with served() as store:
        at = {"CLOUD_STORAGE_URL": store.url}
        program = (
            "from cloud_storage import Store\nwith Store() as store: store.put('a', 'b'); print(store.get_text('a'))"
        )
        assert empty.run("python", "-c", program, **at).stdout == "b\n"
        program = (
            "import asyncio, cloud_storage\n"
            "async def run():\n"
            "    async with cloud_storage.AsyncStore() as store: print(await store.increment('n'))\n"
            "asyncio.run(run())\n"
        )
        assert empty.run("python", "-c", program, **at).stdout == "1\n"
        assert empty.run("cloud-storage", "put", "k", stdin="from stdin", **at).returncode == 0
        got = empty.run("cloud-storage", "get", "k", **at)
        assert (got.returncode, got.stdout) == (0, "from stdin"), got.stderr
        assert empty.run("cloud-storage", "ls", **at).stdout.splitlines() == ["a", "k", "n"]
    helped = empty.run("cloud-storage", "--help")
    assert helped.returncode == 0, helped.stderr
    assert " run " in helped.stdout
    for command in (["run"], ["status"], ["verify"], ["demo"]):
        refused = empty.run("cloud-storage", *command)
        assert refused.returncode == 1, command
        assert "cloud-storage[server]" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1, "one sentence"
    typed = empty.run(
        "python",
        "-c",
        "import cloud_storage, pathlib; print((pathlib.Path(cloud_storage.__file__).parent / 'py.typed').exists())",
    )
    assert typed.stdout == "True\n"


@pytest.mark.ray
def test_a_store_runs_from_the_wheel(wheel: Path, empty: Environment) -> None:
    """In an empty folder, by the configuration that comes with it; and with one of one's own."""
    empty.install(f"{wheel}[server]")
    refused = empty.run("cloud-storage", "run", "--config", "missing/serve_config.yaml")
    assert refused.returncode == 1
    assert "missing/serve_config.yaml can't be read" in refused.stderr
    port = free_port()
    shipped = empty.run(
        "python",
        "-c",
        "import serve_app.cli.defaults as d, pathlib; print(d.found(pathlib.Path('serve_config.yaml')).read_text())",
    ).stdout
    assert yaml.safe_load(shipped) == yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    (empty.folder / "serve_config.yaml").write_text(shipped.replace("port: 8000", f"port: {port}"))
    running = empty.start("cloud-storage", "run")
    try:
        said = until_up(running)
        assert f"http://127.0.0.1:{port}" in said
        assert str(empty.folder / "data") in said
        at = {"CLOUD_STORAGE_URL": f"http://127.0.0.1:{port}"}
        assert empty.run("cloud-storage", "put", "k", "v", **at).returncode == 0
        assert empty.run("cloud-storage", "get", "k", **at).stdout == "v"
        status = empty.run("cloud-storage", "status", "--url", at["CLOUD_STORAGE_URL"])
        assert status.returncode == 0, status.stderr
        task = (
            "import ray, serve_app\nray.init('auto', log_to_driver=False, logging_level=40)\n"
            "@ray.remote\ndef read(): return serve_app.connect().get_text('k')\nprint(ray.get(read.remote()))"
        )
        address = next(
            part.partition("=")[2]
            for line in subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout.splitlines()
            if str(empty.folder.parent) in line
            for part in line.split()
            if part.startswith("--gcs-address=")
        )
        own = {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_ADDRESS": address}
        inside = empty.run("python", "-c", task.replace("'auto', ", ""), **own)
        assert inside.stdout == "v\n", inside.stderr
    finally:
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0


def until_up(running: subprocess.Popen[str]) -> str:
    """What it says until it is up."""
    assert running.stdout is not None
    said = ""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    for line in running.stdout:
        said += line
        if "Ctrl-C stops it" in line:
            return said
        assert time.monotonic() < deadline_s, said
    raise AssertionError(said)
