"""Where Serve's HTTP API listens, for what depends on who can reach it."""

from __future__ import annotations

import ray
from ray.serve.context import _get_global_client

from serve_app.loopback import listens_on_loopback


def loopback_host() -> str:
    """The host that the API of the Serve on this Ray listens on, where it can be reached from its own machine alone. Empty
    where others can reach it, and where there is no Serve yet.

    Asked when the application is built: Serve builds it in a task of the cluster whose API it will be, and that API keeps its
    address until Serve is shut down. The options are in no public interface of Serve 2.60 but the dashboard's, which needs an
    address and a token of its own.

    Raises:
        RayError: Serve's controller does not answer.
    """
    if not ray.is_initialized():
        return ""
    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return ""
    host = client.http_config.host or ""  # None where nothing listens
    return host if host and listens_on_loopback(host) else ""
