"""What a directory's pod does before it goes: hands over its requests, so that none fails.

Runs as the preStop hook of the directory's container. Kubernetes has just begun to take the pod out of the Serve service, and
Ray knows nothing yet; the moment this returns, Ray's processes are ended. Two kinds of traffic have to be gone by then:

1. Requests that any pod's HAProxy sends to this pod's directory. Ray is told to drain the node; Serve then takes the
   directory out of every HAProxy, and lets it finish what it has.
2. Kept-alive connections of clients to this pod's HAProxy. It is asked for its soft stop (SIGUSR1): it answers each
   connection's next request with `Connection: close`. https://docs.haproxy.org/2.8/management.html#4
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import psutil

#: Serve stops a directory when less than its shutdown timeout (35 s) is left of the node, so at once.
_DEADLINE_S = 30
_REASON = "the pod is being deleted"
#: Ray may be without a head just now. Then the hand-over is what the second step can do.
_RAY_TIMEOUT_S = 5.0
#: How long kube-proxy everywhere may take to send no new connections here.
_ENDPOINT_REMOVAL_S = 4.0
#: As long as a request may take in a directory (settings.Limits.request_timeout_s).
_REQUEST_S = 10.0
#: Clients that keep a silent connection are cut off after this.
_LONGEST_S = 20.0
_POLL_S = 0.2
_SERVE_PORT = 8000


def main() -> None:
    """Return when nothing is under way here any more, or after 20 s."""
    started_s = time.monotonic()
    asking = threading.Thread(target=_drain_node, daemon=True)
    asking.start()
    asking.join(_RAY_TIMEOUT_S)
    _sleep_until(started_s + _ENDPOINT_REMOVAL_S)
    _soft_stop_haproxy()
    _sleep_until(started_s + _REQUEST_S)
    while _client_connections() and time.monotonic() < started_s + _LONGEST_S:
        _soft_stop_haproxy()  # also one that Serve has started since
        time.sleep(_POLL_S)
    _say(f"drained in {time.monotonic() - started_s:.1f} s, {_client_connections()} connections left")


def _drain_node() -> None:
    # The interface of `ray drain-node`, which would start a driver to find out what node it is on.
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated import autoscaler_pb2

    try:
        gcs = GcsClient(address=os.environ["RAY_ADDRESS"])
        address = socket.gethostbyname(socket.gethostname())
        nodes = gcs.get_all_node_info(timeout=_RAY_TIMEOUT_S)
        node_id = next(
            key.hex() for key, node in nodes.items() if node.node_manager_address == address and node.state == 0
        )
        deadline_ms = int((time.time() + _DEADLINE_S) * 1000)
        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")  # type: ignore[attr-defined]
        accepted, why_not = gcs.drain_node(node_id, reason, _REASON, deadline_ms)
        _say("Ray drains the node" if accepted else f"Ray does not drain the node: {why_not}")
    except Exception as error:
        _say(f"Ray could not be asked to drain the node: {error!r}")


def _soft_stop_haproxy() -> None:
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "haproxy":
            try:
                process.send_signal(signal.SIGUSR1)
            except psutil.NoSuchProcess:
                pass  # it has ended by itself


def _client_connections() -> int:
    """Established connections to the Serve port, which clients hold."""
    established = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED]
    return sum(each.laddr[1:] == (_SERVE_PORT,) for each in established)


def _sleep_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.monotonic()))


def _say(what: str) -> None:
    """Into the container's log, where Kubernetes shows what its first process writes."""
    line = f"drain: {what}\n"
    try:
        with Path("/proc/1/fd/2").open("w") as log:
            log.write(line)
    except OSError:
        sys.stderr.write(line)


if __name__ == "__main__":
    main()
