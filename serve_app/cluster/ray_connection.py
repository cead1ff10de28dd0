"""Connecting to the Ray of a running store from a process that is no part of it: an operator's command."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError

from serve_app.cluster.ray_calls import first_line
from serve_app.errors import Unavailable
from serve_app.settings import NAMESPACE

_CONNECT_TIMEOUT_S = 5.0
#: How long Ray gets to take us in; a busy machine needs a few seconds.
INIT_TIMEOUT_S = 30.0


class NoRay(Unavailable):
    """What listens at Ray's address is no Ray, and Ray's own code goes on trying until the process ends."""


@contextmanager
def connected_to_ray(address: str) -> Iterator[None]:
    """While inside, this process is connected to the Ray at this address; `auto` is the one on this machine.

    Raises:
        Unavailable: there is no such Ray, or it turns us away.
    """
    _check_that_something_listens(address)
    try:
        _init(address)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise Unavailable(f"no connection to Ray: {first_line(error)}") from error
    try:
        yield
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
