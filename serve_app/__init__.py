"""A durable key-value store that lives inside a Ray cluster.

`serve_app.app:build` is what a Serve configuration imports; `python -m serve_app` is the command line. Programs inside the
cluster have the store by `connect` and `connect_async`; those outside by the package `cloud_storage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloud_storage import AsyncStore, Store

__version__ = "0.1.0"


def connect(*, timeout: float = 30.0) -> Store:
    """The store of this Ray cluster, for a driver, a task or an actor: a `cloud_storage.Store` that speaks to the buckets
    themselves, with no HTTP in between.

    timeout: the deadline of each call, in seconds, and of this one. All of a process share one connection to each bucket.
    Call it where the store is used: a store can't be sent to another process.

    Raises:
        cloud_storage.Incompatible: the store is of another release, with which this one can't speak.
        cloud_storage.Unavailable: this process is in no Ray cluster, or there is no store in it, or it is not up in time.
    """
    from serve_app.cluster import connecting

    return connecting.connect(timeout)


async def connect_async(*, timeout: float = 30.0) -> AsyncStore:  # noqa: ASYNC109 - of the store
    """As `connect`, for asyncio: a `cloud_storage.AsyncStore` with connections of its own, for the loop that runs. Make one
    and keep it."""
    from serve_app.cluster import connecting

    return await connecting.connect_async(timeout)
