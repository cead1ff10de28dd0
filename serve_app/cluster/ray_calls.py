"""Asking Ray from an event loop.

Ray's calls block their thread, and hang while the cluster's head is away: each runs in a thread of its own, which nobody
waits for at the end.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

import ray

from serve_app.errors import Unavailable
from serve_app.settings import NAMESPACE
from serve_app.threads import hand_over

T = TypeVar("T")

_LIST_TIMEOUT_S = 5.0
_BUCKET = re.compile(r"bucket-(0|[1-9]\d*)")


def in_thread(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """What `work` returns or raises, called in a thread of its own, of this name."""

    def start(run: Callable[[], None]) -> None:
        threading.Thread(target=run, name=name, daemon=True).start()

    return hand_over(asyncio.get_running_loop(), start, work)


def first_line(error: Exception) -> str:
    """Ray's texts run over many lines; the first says what happened."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


async def buckets_told_of(answer: asyncio.Future[T]) -> T:
    """What Ray answers to the question which buckets there are, waited for.

    Raises:
        Unavailable: it does not say, or not in time.
    """
    try:
        async with asyncio.timeout(_LIST_TIMEOUT_S):
            return await asyncio.shield(answer)
    except TimeoutError:
        raise Unavailable("Ray does not say in time which buckets there are: its head may be away") from None
    except Exception as error:  # whatever it met: it is asked again
        raise Unavailable(f"Ray does not say which buckets there are: {first_line(error)}") from error


def actor_ids() -> list[int]:
    """The ids of the buckets that have an actor, in order. Blocks; raises RayError."""
    actors = ray.util.list_named_actors(all_namespaces=True)
    return _ids(actor["name"] for actor in actors if actor["namespace"] == NAMESPACE)


def place_ids() -> list[int]:
    """The ids of the buckets that some node has a place for, in order. Blocks; raises RayError."""
    return _ids(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _ids(names: Iterable[str]) -> list[int]:
    return sorted(int(match[1]) for match in map(_BUCKET.fullmatch, names) if match)
