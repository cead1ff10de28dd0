"""Finding a running store's buckets for an operator's commands, which look at what there is.

Unlike a directory's control plane (control_plane.py) this never makes, replaces or ends an actor.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from serve_app.cluster.answers import EndpointAnswer
from serve_app.cluster.ray_calls import actor_ids, buckets_told_of, first_line, in_thread
from serve_app.cluster.reaching import reachable
from serve_app.errors import Unavailable
from serve_app.settings import NAMESPACE
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.link import BucketFault

_ENDPOINT_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 5.0
#: How long Ray gets to take us in; a busy machine needs a few seconds.
INIT_TIMEOUT_S = 30.0


class NoRay(Unavailable):
    """What listens at Ray's address is no Ray, and Ray's own code goes on trying until the process ends."""


@contextmanager
def connected_to_ray(address: str) -> Iterator[RayBuckets]:
    """The buckets of the store that runs on the Ray at this address; `auto` is the one on this machine.

    Raises:
        Unavailable: there is no such Ray, or it turns us away.
    """
    _check_that_something_listens(address)
    try:
        _init(address)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise Unavailable(f"no connection to Ray: {first_line(error)}") from error
    try:
        yield RayBuckets()
    finally:
        ray.shutdown()


def _init(address: str) -> None:
    """`ray.init`, in a thread: where what listens is no Ray it never returns, and heeds no signal.

    Raises:
        NoRay: it did not return in time. It goes on: whoever hears of this must end the process.
    """
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
        except BaseException as error:
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=run, name="ray-init", daemon=True)
    thread.start()
    thread.join(INIT_TIMEOUT_S)
    if not outcome:
        raise NoRay(f"what listens at {address} does not answer as Ray does: is that the address of Ray's GCS?")
    if outcome[0] is not None:
        raise outcome[0]


def _check_that_something_listens(address: str) -> None:
    """Ray itself tries for minutes, and says so line by line."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise Unavailable(f"no connection to Ray at {address}: {error.strerror or error}") from error


class RayBuckets:
    """Implements `wire.link.ControlPlane`, making nothing."""

    async def ids(self) -> list[int]:
        """The ids of the buckets that have an actor, in order.

        Raises:
            Unavailable: Ray does not say.
        """
        return await buckets_told_of(in_thread(actor_ids, "list-buckets"))

    async def resolve(self, bucket_id: int) -> Endpoint:
        """Where a bucket listens.

        Raises:
            BucketFault: it says why it does not serve.
            ConnectionError, TimeoutError: there is no such actor, or it does not answer.
        """
        answer = await in_thread(lambda: _ask(f"bucket-{bucket_id}"), f"resolve-bucket-{bucket_id}")
        if answer.opening:
            raise ConnectionError(answer.fault)
        if answer.endpoint is None:
            raise BucketFault(answer.fault)
        return answer.endpoint


def _ask(name: str) -> EndpointAnswer:
    try:
        actor = ray.get_actor(name, namespace=NAMESPACE)
        asked: Any = actor.endpoint.remote()
        answer: EndpointAnswer = ray.get(asked, timeout=_ENDPOINT_TIMEOUT_S)
        answer = reachable(actor, answer, _ENDPOINT_TIMEOUT_S)
    except ValueError:
        raise ConnectionError(f"there is no actor {name}") from None
    except GetTimeoutError:
        raise TimeoutError(f"the actor {name} does not answer: its process is not running yet") from None
    except RayError as error:
        raise ConnectionError(first_line(error)) from error
    return answer
