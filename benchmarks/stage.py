"""Everything that is measured, running: one Serve instance with the systems as its applications, and their back ends.

The store is started by its own launcher with the configuration that ships, so what is measured is what users run. Added are
the other applications, and that Ray's workers are not niced: wrk on the same machine would take their time otherwise.
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil

from benchmarks.failure import BenchmarkFailed
from benchmarks.processes import server, uninterrupted
from benchmarks.systems import (
    BARE,
    EMPTY,
    ETCD,
    LOADER_PREFIX,
    OBVIOUS,
    REDIS,
    STORE,
    TOKENS,
    V1,
    System,
    application,
    bare_environment,
    loader_application,
)
from benchmarks.wrk import Target
from harness.running_store import ROOT, RunningStore, free_port
from serve_app.auth.secret import digest_of, new_token

_ANSWER_TIMEOUT_S = 90.0
_PROBE_KEY = "probe"


class Stage:
    """Use as a context manager: on entry all is started and answers, on exit all of it is gone."""

    def __init__(self, folder: Path, systems: Sequence[System], bucket_count: int) -> None:
        """folder is for all data and logs."""
        self.folder = folder
        self.systems = list(systems)
        self.bucket_count = bucket_count
        self.redis_port = free_port()
        self.etcd_port = free_port()
        #: Where the store itself speaks the Redis protocol.
        self.face_port = free_port()
        #: Back ends beside the store, by what to call them.
        self.back_ends: dict[str, subprocess.Popen[bytes]] = {}
        self._cleanup = contextlib.ExitStack()
        folder.mkdir()
        environment = {"PYTHONPATH": str(ROOT), "RAY_worker_niceness": "0", "RAY_DEDUP_LOGS": "0"}
        self.store = RunningStore(
            folder, bucket_count=bucket_count, environment=environment, args={"redis": {"port": self.face_port}}
        )
        #: A second Serve, whose store has nothing to do, for the empty handler with nothing turned off.
        self.bare: RunningStore | None = None
        if BARE in self.systems:
            (folder / "bare").mkdir()
            self.bare = RunningStore(folder / "bare", bucket_count=1, environment=environment | bare_environment())

        #: Another, whose store asks for tokens.
        self.guarded: RunningStore | None = None
        self._token = ""
        if TOKENS in self.systems:
            (folder / "guarded").mkdir()
            tokens = folder / "guarded" / "tokens"
            self._token = new_token()
            tokens.touch(mode=0o600)
            tokens.write_text(f"benchmarks read,write,admin sha256:{digest_of(self._token.encode()).hex()}\n")
            self.guarded = RunningStore(
                folder / "guarded",
                bucket_count=bucket_count,
                args={"auth": {"tokens_file": str(tokens)}},
                environment=environment | {"CLOUD_STORAGE_TOKEN": self._token},
            )

    def __enter__(self) -> Stage:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def target(self, system: System) -> Target:
        """Where to send this system's load."""
        if system is ETCD:
            return Target(f"http://127.0.0.1:{self.etcd_port}", system.keyed, gateway=True)
        if system is BARE and self.bare is not None:
            return Target(self.bare.url + system.route_prefix, system.keyed)
        if system is TOKENS and self.guarded is not None:
            return Target(self.guarded.url, system.keyed, v1=True, token=self._token)
        return Target(self.store.url + system.route_prefix, system.keyed, v1=system.v1)

    @property
    def loader_url(self) -> str:
        return self.store.url + LOADER_PREFIX

    # -- starting and stopping ---------------------------------------------------------------------------------------

    def _start(self) -> None:
        applications: list[dict[str, Any]] = self.store.document["applications"]
        applications.append(loader_application())
        for system in self.systems:
            if system is EMPTY:
                applications.append(application(system, {}))
            elif system is OBVIOUS:
                applications.append(application(system, {"bucket_urls": self._start_obvious_buckets()}))
            elif system is REDIS:
                self._start_redis()
                applications.append(application(system, {"port": self.redis_port}))
            elif system is ETCD:
                self._start_etcd()
        self._start_serve(self.store)
        if self.bare is not None:
            self.bare.document["applications"].append(application(EMPTY, {}))
            self._start_serve(self.bare)
        if self.guarded is not None:
            self._start_serve(self.guarded)
        for system in self.systems:
            self._wait_answers(system)

    def _start_serve(self, store: RunningStore) -> None:
        self._cleanup.callback(_stop_store, store)
        try:
            store.start()
        except AssertionError as error:
            raise BenchmarkFailed(f"the store did not start: {error}") from None

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.etcd_port, free_port()))
        command = ["etcd", "--name", "one", "--data-dir", str(self.folder / "etcd"), "--logger", "zap"]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
        command += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}", "--log-level", "error"]
        output = self.folder / "etcd.out"
        self.back_ends["etcd"] = self._cleanup.enter_context(server(command, self.etcd_port, output, {}))

    def _start_obvious_buckets(self) -> list[str]:
        from benchmarks.apps.obvious_bucket import FILE_VARIABLE

        urls = []
        for bucket_id in range(self.bucket_count):
            port = free_port()
            command = [sys.executable, "-m", "uvicorn", "benchmarks.apps.obvious_bucket:app", "--host", "127.0.0.1"]
            command += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
            name = f"obvious bucket {bucket_id}"
            environment = {"PYTHONPATH": str(ROOT), FILE_VARIABLE: str(self.folder / f"obvious-{bucket_id}.json")}
            output = self.folder / f"obvious-{bucket_id}.out"
            self.back_ends[name] = self._cleanup.enter_context(server(command, port, output, environment))
            urls.append(f"http://127.0.0.1:{port}")
        return urls

    def _start_redis(self) -> None:
        data = self.folder / "redis"
        data.mkdir()
        command = [
            "redis-server",
            "--port",
            str(self.redis_port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(data),
            "--save",
            "",
        ]
        command += ["--appendonly", "yes", "--appendfsync", "always"]
        output = self.folder / "redis.out"
        self.back_ends["redis-server"] = self._cleanup.enter_context(server(command, self.redis_port, output, {}))

    def _wait_answers(self, system: System) -> None:
        """Wait for right answers, not just any: a benchmark of an error page would be a fast one."""
        url, token = self.target(system).url, self.target(system).token
        deadline_s = time.monotonic() + _ANSWER_TIMEOUT_S
        trouble = "nothing"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(timeout=10.0, headers=headers) as client:
            while time.monotonic() < deadline_s:
                with contextlib.suppress(httpx.TransportError):
                    trouble = _trouble(client, url, system)
                    if not trouble:
                        return
                time.sleep(0.2)
        raise BenchmarkFailed(f"{system.title} does not answer as it should at {url}: {trouble}")

    def _stop(self) -> None:
        with uninterrupted():
            self._cleanup.close()


def _stop_store(store: RunningStore) -> None:
    launcher = store.process
    if launcher is None or launcher.poll() is not None:
        return
    everything = [psutil.Process(launcher.pid), *store.processes()]
    try:
        store.stop()
    except subprocess.TimeoutExpired:
        for process in everything:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _trouble(client: httpx.Client, url: str, system: System) -> str:
    """What is wrong with the system's answers; empty when nothing is."""
    wanted: list[dict[str, Any]]
    if system.gateway:
        key, value = (base64.b64encode(text.encode()).decode() for text in (_PROBE_KEY, "here"))
        answers = [
            client.post(f"{url}/v3/kv/put", json={"key": key, "value": value}),
            client.post(f"{url}/v3/kv/range", json={"key": key}),
            client.post(f"{url}/v3/kv/deleterange", json={"key": key}),
        ]
        wanted = [{}, {"count": "1"}, {"deleted": "1"}]
    elif not system.keyed:
        answers = [client.get(f"{url}/empty"), client.put(f"{url}/empty")]
        wanted = [{"ok": True}, {"ok": True}]
    else:
        answers = [
            client.put(f"{url}/put", params={"key": _PROBE_KEY, "value": "here"}),
            client.get(f"{url}/get/{_PROBE_KEY}"),
        ]
        wanted = [{"key": _PROBE_KEY, "value": "here"}, {"value": "here"}]
    for answer, fields in zip(answers, wanted, strict=True):
        try:
            body = answer.json()
        except json.JSONDecodeError:
            body = {}
        if answer.status_code != 200 or not body.items() >= fields.items():
            return f"{answer.request.method} was answered {answer.status_code} {answer.text[:200]}"
    if system in (STORE, V1, TOKENS):
        client.delete(f"{url}/delete/{_PROBE_KEY}")
    return ""
