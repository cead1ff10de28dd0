"""The environment for Ray and Serve: one folder, which only its user can enter."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.running_store import ROOT
from serve_app import ingress
from serve_app.cli import environment
from serve_app.cli import run as run_module
from serve_app.command_output.failure import Failure


@pytest.fixture
def top(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for RAY_TMPDIR with a name short enough for sockets, which a test's own is not."""
    found = Path("/tmp") / f"cs{os.getpid() % 100_000}"
    found.mkdir(mode=0o755)
    monkeypatch.setenv("RAY_TMPDIR", str(found))
    yield found
    subprocess.run(["rm", "-r", str(found)], check=True)


def test_it_is_made_for_the_user_alone(top: Path) -> None:
    folder = environment.private_folder()
    assert folder.parent == top
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_an_open_umask_or_an_earlier_start_left_open_is_closed(top: Path) -> None:
    environment.private_folder().chmod(0o777)
    assert stat.S_IMODE(environment.private_folder().stat().st_mode) == 0o700


def test_it_is_not_nested_where_the_shell_has_evaluated_it_already(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = environment.private_folder()
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    assert environment.private_folder() == folder


def test_a_link_that_somebody_laid_there_is_refused(top: Path, tmp_path: Path) -> None:
    (top / f"cloud-storage-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(Failure, match=r"belongs to somebody else; set RAY_TMPDIR"):
        environment.private_folder()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700, "left alone"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's folder")
def test_another_users_folder_is_refused(top: Path) -> None:
    folder = top / f"cloud-storage-{os.getuid()}"
    folder.mkdir(mode=0o777)
    os.chown(folder, 65534, 65534)
    with pytest.raises(Failure, match=r"belongs to somebody else"):
        environment.private_folder()


def test_a_name_too_long_for_sockets_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 60)))
    with pytest.raises(Failure, match=r"too long a name for sockets; set RAY_TMPDIR to a shorter one"):
        environment.private_folder()


def test_the_socket_fits_for_any_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """User ids have up to ten digits (2**32 - 2)."""
    files = environment._haproxy_files(Path("/tmp/cloud-storage-4294967294"))
    path = Path(files["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    assert len(str(path.parent / ("0" * 56) / path.name)) <= environment._SOCKET_PATH_BYTES


def test_a_shell_takes_what_is_printed_and_what_is_set_stays(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S", "7")
    commands = environment.shell_commands(ROOT / "serve.env")
    shown = subprocess.run(
        ["sh", "-c", commands + "\numask\nenv"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert shown[0] == "0077"
    assert "RAY_SERVE_ENABLE_HA_PROXY=1" in shown
    assert "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S=7" in shown
    assert f"RAY_TMPDIR={top}/cloud-storage-{os.getuid()}" in shown


def test_a_ray_of_its_own_keeps_to_the_private_folder_whatever_the_shell_says(top: Path) -> None:
    own = environment.of_a_cluster_of_its_own(ROOT / "serve.env")
    assert own["RAY_TMPDIR"] == str(environment.private_folder()) != str(top)
    assert own["RAY_SERVE_HAPROXY_SOCKET_PATH"].startswith(own["RAY_TMPDIR"])


def test_the_ports_of_helpers_are_none_that_a_connection_is_given_by_chance() -> None:
    """One was, before Serve listened on it some seconds later: the store did not start."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    own = environment.of_a_cluster_of_its_own(ROOT / "serve.env")
    ports = {int(own[name]) for name in environment._HELPER_PORTS}
    assert len(ports) == len(environment._HELPER_PORTS)
    assert max(ports) < first


def test_a_log_that_an_earlier_release_left_open_is_closed_to_others(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    log.touch()
    log.chmod(0o644)
    run_module._create(log).close()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_rays_token_is_closed_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    environment.tighten_ray_token()  # there is none yet
    (tmp_path / ".ray").mkdir(mode=0o755)
    token = tmp_path / ".ray" / "auth_token"
    token.write_text("secret")
    token.chmod(0o644)
    environment.tighten_ray_token()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700


def test_haproxys_program_that_lost_its_mode_is_said(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "haproxy"
    program.touch(mode=0o644)
    monkeypatch.setattr(ingress, "HAPROXY", program)
    with pytest.raises(Failure, match=r"haproxy is not executable: chmod \+x"):
        environment.environment(ROOT / "serve.env")
