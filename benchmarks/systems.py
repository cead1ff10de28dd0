"""The systems that are compared, as applications of one Serve instance: same ingress, same settings, same machine."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from typing import Any, Literal

from serve_app.ingress.configuration import haproxy

SystemName = Literal["empty", "store", "v1", "obvious", "redis", "etcd", "bare", "tokens"]


@dataclass(frozen=True)
class System:
    """One of those compared. title is for tables, keyed says whether its requests name keys, gateway whether they are
    etcd's, v1 whether they are those of `/v1`."""

    name: SystemName
    title: str
    route_prefix: str
    keyed: bool = True
    gateway: bool = False
    v1: bool = False


EMPTY = System("empty", "empty handler", "/empty-handler", keyed=False)
STORE = System("store", "this store", "")
#: The same process, asked by its other API.
V1 = System("v1", "this store, `/v1`", "", v1=True)
OBVIOUS = System("obvious", "the obvious way", "/obvious")
REDIS = System("redis", "FastAPI + Redis", "/redis")
#: Not behind Serve: etcd answers HTTP itself, with JSON whose keys and values are Base64, and syncs each write.
ETCD = System("etcd", "etcd's HTTP gateway", "", gateway=True)
#: The empty handler in a Serve of its own, without what is turned off for ours (`bare_environment`).
BARE = System("bare", "empty handler, nothing turned off", "/empty-handler", keyed=False)

#: The store in a Serve of its own, with tokens on.
TOKENS = System("tokens", "this store, `/v1`, tokens on", "", v1=True)

#: In the order in which a round measures them.
SYSTEMS = (EMPTY, STORE, V1, OBVIOUS, REDIS, ETCD)
#: Measured only where --systems names them: a second Ray takes some of the machine from all others.
ON_REQUEST = (BARE, TOKENS)

LOADER_PREFIX = "/loader"


def why_not(system: System) -> str:
    """Why this system can't be measured here, as a sentence; empty if it can."""
    if system is ETCD and shutil.which("etcd") is None:
        return f"{ETCD.title} is skipped: etcd (Debian: apt-get install etcd-server) is not installed"
    if system is not REDIS:
        return ""
    missing = []
    if shutil.which("redis-server") is None:
        missing.append("redis-server (Debian: apt-get install redis-server)")
    if importlib.util.find_spec("redis") is None:
        missing.append("the Python package redis (.venv/bin/pip install redis)")
    return f"{REDIS.title} is skipped: {' and '.join(missing)} is not installed" if missing else ""


def bare_environment() -> dict[str, str]:
    """Serve's settings as they were before HAProxy's metrics were turned off and its configuration was amended."""
    return {"RAY_SERVE_HAPROXY_BINARY_PATH": haproxy(), "RAY_SERVE_HAPROXY_METRICS_ENABLED": "1"}


def application(system: System, args: dict[str, Any]) -> dict[str, Any]:
    """The entry of this system in a Serve configuration. The store's own is in serve_config.yaml already."""
    module, deployment = {
        "empty": ("empty", "Empty"),
        "obvious": ("obvious_ingress", "ObviousIngress"),
        "redis": ("redis_ingress", "RedisIngress"),
    }[system.name]
    return _application(system.name, module, deployment, system.route_prefix, args)


def loader_application() -> dict[str, Any]:
    """The entry of the loader, which fills the store."""
    return _application("loader", "loader", "Loader", LOADER_PREFIX, {})


def _application(name: str, module: str, deployment: str, prefix: str, args: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "import_path": f"benchmarks.apps.{module}:build",
        "route_prefix": prefix,
        "args": args,
        "logging_config": {"enable_access_log": False},
        # No CPU reserved: otherwise Ray would not start more of them than there are cores.
        "deployments": [{"name": deployment, "ray_actor_options": {"num_cpus": 0}}],
    }
