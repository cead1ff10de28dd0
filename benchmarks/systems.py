"""The systems that are compared, as applications of one Serve instance: same ingress, same settings, same machine."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from typing import Any, Literal

SystemName = Literal["empty", "store", "obvious", "redis"]


@dataclass(frozen=True)
class System:
    """One of those compared. title is for tables, keyed says whether its requests name keys."""

    name: SystemName
    title: str
    route_prefix: str
    keyed: bool = True


EMPTY = System("empty", "empty handler", "/empty-handler", keyed=False)
STORE = System("store", "this store", "")
OBVIOUS = System("obvious", "the obvious way", "/obvious")
REDIS = System("redis", "FastAPI + Redis", "/redis")

#: In the order in which a round measures them.
SYSTEMS = (EMPTY, STORE, OBVIOUS, REDIS)

LOADER_PREFIX = "/loader"


def why_not(system: System) -> str:
    """Why this system can't be measured here, as a sentence; empty if it can."""
    if system is not REDIS:
        return ""
    missing = []
    if shutil.which("redis-server") is None:
        missing.append("redis-server (Debian: apt-get install redis-server)")
    if importlib.util.find_spec("redis") is None:
        missing.append("the Python package redis (.venv/bin/pip install redis)")
    return f"{REDIS.title} is skipped: {' and '.join(missing)} is not installed" if missing else ""


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
        # No CPU reserved: Ray would else not start more of them than there are cores.
        "deployments": [{"name": deployment, "ray_actor_options": {"num_cpus": 0}}],
    }
