"""`verify` where Ray is not what is at the address that it is given, or where it would have to guess."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from harness.running_store import ROOT
from serve_app.cli import operator
from serve_app.command_output.failure import Failure

pytestmark = pytest.mark.ray
_VERIFY = """
import sys
from serve_app.cluster import ray_connection
ray_connection.INIT_TIMEOUT_S = 3.0
from serve_app.cli.main import app
sys.argv = ["serve_app", "verify", "--address", sys.argv[1]]
app()
"""


def test_what_listens_and_is_no_ray_ends_the_command_with_a_sentence() -> None:
    """Ray's own code would try for ever, and heed no signal."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        ended = subprocess.run(
            [sys.executable, "-c", _VERIFY, address], cwd=ROOT, capture_output=True, text=True, timeout=120
        )
    assert ended.returncode == 1, ended.stderr
    assert f"error: what listens at {address} does not answer as Ray does" in ended.stderr


def test_of_several_rays_none_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "_addresses_here", lambda: ["10.0.0.1:6379", "127.0.0.1:6379"])
    with pytest.raises(Failure, match=r"several Rays run .* --address \(10\.0\.0\.1:6379, 127\.0\.0\.1:6379\)"):
        operator.accept_loss("auto", "1", None)
