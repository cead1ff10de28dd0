"""Where a bucket listens, and getting it to listen where one is.

On a machine of its own a store needs no address that others can reach, so its buckets listen on 127.0.0.1 where the API does.
Nothing can tell them that this will do for ever: a second node may join at any time, and Serve may put a directory there. So
a bucket listens on its node's address as well as soon as somebody on another node asks for it, through Ray, which lets nobody
ask without the cluster's token. A loopback address is never connected to from another node: there it would be whoever
listens on that port, and would be shown the bucket's token.
"""

from __future__ import annotations

from typing import Any

import ray

from serve_app.cluster.build import Build
from serve_app.cluster.endpoint_answer import EndpointAnswer
from serve_app.loopback import is_loopback

LOOPBACK = "127.0.0.1"


def first_address(build: Build, node_address: str) -> str:
    """Where a bucket listens when it starts.

    With `pin_buckets` each bucket has a node of its own, so others will ask, however alone the first one is.
    """
    settings = build.settings
    alone = bool(build.loopback_host) and not settings.pin_buckets
    if settings.data_plane_host == "loopback" or (settings.data_plane_host == "auto" and alone):
        return LOOPBACK
    return node_address


def must_be_opened(answer: EndpointAnswer, node_id: str) -> bool:
    """Whether an answer's endpoint can't be reached from this node."""
    if (
        answer.endpoint is None or not answer.node_id
    ):  # a bucket of an earlier release says no node and uses its address
        return False
    return answer.node_id != node_id and is_loopback(answer.endpoint.address[0])


def reachable(actor: Any, answer: EndpointAnswer, timeout_s: float) -> EndpointAnswer:
    """A bucket's answer with an endpoint that can be reached from here, or the fault that there is none. Blocks.

    Raises:
        RayError: the actor did not answer.
    """
    if not must_be_opened(answer, ray.get_runtime_context().get_node_id()):
        return answer
    opened: EndpointAnswer = ray.get(actor.open_to_other_nodes.remote(), timeout=timeout_s)
    return opened
