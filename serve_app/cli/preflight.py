"""What `run` looks at before it starts anything: configuration, ports and the data folder."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from serve_app.cli.environment import of_a_cluster_of_its_own
from serve_app.cli.failure import Failure
from serve_app.settings import Settings, UserConfig, explain

APPLICATION = "cloud-storage"
DEPLOYMENT = "Directory"


@dataclass(frozen=True)
class Plan:
    """A start that nothing is known to be in the way of."""

    data_dir: Path
    url: str
    environment: dict[str, str]


def check(config: Path, env_file: Path) -> Plan:
    """Look at everything that a start needs.

    Raises:
        Failure: something is wrong; it says what.
    """
    document = _load(config)
    settings = _settings(document, config)
    host, port = _address(document, config)
    _check_port(host, port)
    _check_data_dir(settings.data_dir)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound
    return Plan(settings.data_dir, f"http://{shown}:{port}", of_a_cluster_of_its_own(env_file))


def _load(config: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(config.read_text())
    except OSError as error:
        raise Failure(f"{config} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(f"{config} is not YAML: it is not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise Failure(f"{config} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise Failure(f"{config} is not a Serve configuration")
    return document


def _settings(document: dict[str, Any], config: Path) -> Settings:
    applications = _by_name(document.get("applications"))
    application = applications.get(APPLICATION)
    if application is None:
        raise Failure(f"{config} has no application named {APPLICATION}")
    deployments = _by_name(application.get("deployments"))
    user_config = (deployments.get(DEPLOYMENT) or {}).get("user_config")
    try:
        UserConfig.model_validate(user_config)
    except ValidationError as error:
        raise Failure(f"{config}: {explain(error, 'user_config')}") from None
    try:
        return Settings.model_validate(application.get("args") or {})
    except ValidationError as error:
        raise Failure(f"{config}: {explain(error, 'args')}") from None


def _by_name(items: object) -> dict[object, dict[str, Any]]:
    """A list of mappings by their names; what is none of that is left out."""
    found = items if isinstance(items, list) else []
    return {item.get("name"): item for item in found if isinstance(item, dict)}


def _address(document: dict[str, Any], config: Path) -> tuple[str, int]:
    options = document.get("http_options")
    options = options if isinstance(options, dict) else {}
    host, port = options.get("host", "127.0.0.1"), options.get("port", 8000)
    if not isinstance(host, str) or not isinstance(port, int) or not 0 < port < 65536:
        raise Failure(f"{config}: http_options.host and http_options.port are not an address: {host!r}, {port!r}")
    return host, port


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier run may linger
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Failure(f"{host}:{port} can't be used: {error.strerror}; is another store running there?") from None


def _check_data_dir(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise Failure(f"the data folder {data_dir} can't be written: {error.strerror}") from None
    for folder in data_dir.glob("bucket-*"):
        try:
            handle = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise Failure(f"{folder} can't be opened: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an open bucket holds this lock
        except BlockingIOError:
            raise Failure(f"the data folder {data_dir} is in use: another process has {folder.name} open") from None
        finally:
            os.close(handle)
