"""`open`: the store on this machine's port, until Ctrl-C."""

from __future__ import annotations

import asyncio
import webbrowser

from kuberay import groups
from kuberay.forwarder import Forwarder
from kuberay.observation import COMPONENT, NODE_TYPE, SELECTOR, is_ready
from kuberay.session import Session
from serve_app.command_output.failure import Failure

_HOST = "127.0.0.1"
_POD_PORT = 8000


def open_store(session: Session, port: int, *, browser: bool) -> int:
    """Forward. Raises Failure where there is no store, or the local port is taken."""
    if not 0 <= port <= 65535:
        raise Failure(f"a port is 1 to 65535, not {port}")
    component = groups.DIRECTORY if groups.has_directory_group(session.deployed()) else "head"
    selector = f"{SELECTOR},{COMPONENT}={component},{NODE_TYPE} in (head,worker)"

    def ready_pods() -> list[str]:
        pods = session.cluster.list_all("Pod", selector)
        return sorted(pod["metadata"]["name"] for pod in pods if is_ready(pod))

    def listening(taken: int) -> None:
        url = f"http://localhost:{taken}"
        session.terminal.good("The store is open on this machine; Ctrl-C closes it.")
        session.terminal.say(f"  API   {url}")
        session.terminal.say(f"  docs  {url}/docs")
        if browser:
            webbrowser.open(f"{url}/docs")

    forwarder = Forwarder(session.client, session.namespace, _POD_PORT, ready_pods, session.terminal.warn)
    try:
        asyncio.run(forwarder.run(_HOST, port, listening))
    except KeyboardInterrupt:
        session.terminal.say("Closed.")
    return 0
