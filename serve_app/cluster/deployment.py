"""The Serve deployment: the directory as a replica.

The FastAPI app is built inside the replica (`__serve_build_asgi_app__`), so nothing of it is pickled, and the same app runs
under a test client without Ray.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import ValidationError
from ray import serve

from serve_app import events
from serve_app.auth.gate import Gate
from serve_app.auth.tokens import Tokens
from serve_app.cluster.allocator import give_large_blocks_back
from serve_app.cluster.bucket_actor import BucketActor
from serve_app.cluster.build import Build
from serve_app.cluster.control_plane import RayControlPlane
from serve_app.cluster.garbage_collector import collect_less_often
from serve_app.cluster.metrics import export_directory
from serve_app.directory.directory import Directory
from serve_app.http.app import build_http
from serve_app.http.front import Front
from serve_app.http.hosts import Hosts
from serve_app.redis.face import Face
from serve_app.settings import UserConfig, explain

DEPLOYMENT = "Directory"
#: In a cluster: how long kube-proxy everywhere may take to send no new connections to a pod that goes (kuberay/drain.py).
_LEAVING_S = 4.0


class DirectoryReplica:
    """One directory. Serve makes as many as the configuration says; none holds anything that is lost with it."""

    def __init__(self, build: Build) -> None:
        settings = build.settings
        events.configure(settings.log_level)
        give_large_blocks_back()
        self._limits = settings.limits
        self._hosts = Hosts(settings.allowed_hosts, loopback_host=build.loopback_host)
        self._gate = gate_of(build)
        self._directory = Directory(RayControlPlane(build, BucketActor), settings.limits)
        self._redis = redis_of(build, self._directory, self._gate)
        export_directory(self._directory)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take a changed `user_config`. Never raises, for Serve would stop this running replica: what is wrong is not
        taken, and shown in /topology."""
        try:
            wanted = UserConfig.model_validate(user_config)
        except ValidationError as error:
            problem = explain(error, "user_config")
            events.error("configuration refused", problem=problem)
            self._directory.configuration.refuse(problem)
            return
        self._directory.configuration.follow(wanted.bucket_count)

    def __serve_build_asgi_app__(self) -> Front:
        collect_less_often()
        return build_http(self._directory, self._limits, self._hosts, self._gate, self._redis)


def gate_of(build: Build) -> Gate | None:
    """The check of tokens; None where none are configured, which is said where others than this machine reach the API."""
    tokens_file = build.settings.auth.tokens_file
    if tokens_file is not None:
        return Gate(Tokens(tokens_file))
    if not build.loopback_host:
        events.warning("api open", reason="args.auth names no tokens: whoever reaches the API may do everything")
    return None


def redis_of(build: Build, directory: Directory, gate: Gate | None) -> Face | None:
    """The directory's face for the Redis protocol; None where none is configured."""
    settings = build.settings
    if settings.redis is None:
        return None
    host = settings.redis.host or ("0.0.0.0" if gate is not None else "127.0.0.1")  # noqa: S104 # tokens are asked for
    tokens = None if gate is None else gate.tokens
    leaving_s = _LEAVING_S if "KUBERNETES_SERVICE_HOST" in os.environ else 0.0
    return Face(directory, settings.limits, host, settings.redis.port, tokens, leaving_s=leaving_s)


def deployment(build: Build) -> serve.Application:
    """The application: one deployment named `Directory`, bound to a build."""
    ingress = serve.ingress()(DirectoryReplica)
    return serve.deployment(name=DEPLOYMENT, max_ongoing_requests=1000)(ingress).bind(build)
