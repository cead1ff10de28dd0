"""Where Serve's HTTP API listens, for what depends on who can reach it."""

from __future__ import annotations

import ray
from ray.serve.context import _get_global_client

from serve_app.loopback import listens_on_loopback


def api_on_loopback() -> bool:
    """Whether the API of the Serve on this Ray can be reached from its own machine alone; False where there is none yet.

    Asked when the application is built: Serve builds it in a task of the cluster whose API it will be, and that API keeps its
    address until Serve is shut down. The options are in no public interface of Serve 2.60 but the dashboard's, which needs an
    address and a token of its own.

    Raises:
        RayError: Serve's controller does not answer.
    """
    if not ray.is_initialized():
        return False
    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return False
    host = client.http_config.host
    return host is not None and listens_on_loopback(host)
