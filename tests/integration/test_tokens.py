"""Tokens on a store that really runs: made, used and revoked while it does, through HAProxy and by every directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from harness.running_store import ROOT, RunningStore
from tests.support.waiting import until

pytestmark = pytest.mark.ray
_TRIES = 20


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """A store of two directories whose tokens file names nobody yet."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "tokens").write_text("# nobody yet\n")
    with RunningStore(folder, directories=2, args={"auth": {"tokens_file": str(folder / "tokens")}}) as running:
        yield running


def typed(store: RunningStore, *command: str, token: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serve_app", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, "CLOUD_STORAGE_TOKEN": token, "COLUMNS": "200"},
    )


def create(store: RunningStore, name: str, scopes: str) -> str:
    done = typed(store, "token", "create", name, "--scope", scopes, "--config", str(store.config))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def statuses(store: RunningStore, token: str) -> set[int]:
    """What several connections are answered, which lead to all directories."""
    found = set()
    for _ in range(_TRIES):
        with store.client(headers={"Authorization": f"Bearer {token}"}) as client:
            found.add(client.get("/get/no-such-key").status_code)
    return found


def test_tokens_come_and_go_while_the_store_runs(guarded: RunningStore) -> None:
    assert "warning: the buckets were not looked at: the store wants a token" in guarded.output
    with guarded.client() as client:
        assert client.get("/health").json() == {"bucket_count": 2}
        refused = client.get("/get/no-such-key")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="cloud-storage"')
    token = create(guarded, "app", "read,write")
    until(lambda: statuses(guarded, token) == {404})
    with guarded.client(headers={"Authorization": f"Bearer {token}"}) as client:
        assert client.put("/put", params={"key": "k", "value": "v"}).status_code == 200
        assert client.get("/topology").status_code == 403
    done = typed(guarded, "token", "revoke", "app", "--config", str(guarded.config))
    assert done.returncode == 0, done.stderr
    until(lambda: statuses(guarded, token) == {401})
    assert token not in guarded.log


def test_the_stores_own_commands_take_one_from_the_environment(guarded: RunningStore) -> None:
    token = create(guarded, "operator", "admin")
    until(lambda: statuses(guarded, token) == {403})
    refused = typed(guarded, "status", "--url", guarded.url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "CLOUD_STORAGE_TOKEN is not set" in refused.stderr
    shown = typed(guarded, "status", "--url", guarded.url, token=token)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "bucket-1" in shown.stdout


def test_a_body_that_is_refused_does_not_break_the_connection(guarded: RunningStore) -> None:
    """The answer arrives, and the next request on the same connection is answered too."""
    with guarded.client(limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(3):
            assert client.put("/put", params={"key": "k"}, content=b"x" * 5_000_000).status_code == 401
        assert client.get("/health").status_code == 200
