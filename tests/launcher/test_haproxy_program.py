"""The program that stands in for HAProxy: amends the configuration, and becomes HAProxy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from serve_app import ingress
from serve_app.ingress.configuration import haproxy
from tests.unit.test_haproxy_configuration import AMENDED, CONFIGURATION


def test_the_program_amends_the_file_and_becomes_haproxy(tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(CONFIGURATION.replace("/somewhere", str(tmp_path)))
    checked = subprocess.run(
        [str(ingress.HAPROXY), "-c", "-f", str(path)],
        env={"CLOUD_STORAGE_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert path.read_text() == AMENDED.replace("/somewhere", str(tmp_path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert Path(haproxy()).is_file()


def test_a_configuration_that_cannot_be_amended_still_starts_haproxy(tmp_path: Path) -> None:
    """HAProxy says itself what is wrong; an API with Serve's own configuration is better than none."""
    ended = subprocess.run(
        [str(ingress.HAPROXY), "-c", "-f", str(tmp_path / "none.cfg")],
        env={"CLOUD_STORAGE_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "is not amended" in ended.stderr
    assert "[ALERT]" in ended.stderr
