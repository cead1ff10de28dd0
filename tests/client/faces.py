"""The four clients of one store: over HTTP and inside its cluster, for threads and for asyncio. All as a `Store`, so that one
test holds for all."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, cast

from cloud_storage import AsyncStore, Store
from serve_app.cluster.connecting import LIMITS
from serve_app.directory.directory import Directory
from serve_app.inside.async_store import InsideAsyncStore
from serve_app.inside.loop_thread import LoopThread
from serve_app.inside.store import InsideStore
from tests.client.served import Served

NAMES = ("http", "http, asyncio", "inside", "inside, asyncio")


@contextlib.contextmanager
def face(name: str, served: Served, timeout: float = 10.0) -> Iterator[Store]:
    """The client of that name."""
    if name == "http":
        with Store(served.url, timeout=timeout) as store:
            yield store
        return
    thread = LoopThread("test")
    try:
        made = thread.run(_http(served, timeout) if name == "http, asyncio" else _inside(served, timeout))
        if name == "inside":
            with InsideStore(cast(InsideAsyncStore, made), thread, lambda: None) as store:
                yield store
        else:
            yield cast(Store, Blocking(made, thread))
        thread.run(made.close())
    finally:
        thread.stop()


async def _http(served: Served, timeout_s: float) -> AsyncStore:
    return AsyncStore(served.url, timeout=timeout_s)


async def _inside(served: Served, timeout_s: float) -> AsyncStore:
    assert served.store is not None, "it has been started"
    directory = Directory(served.store, LIMITS, guest=True)
    await directory.start()
    await directory.view.wait_for_topology(asyncio.get_running_loop().time() + 10)
    return InsideAsyncStore(directory, LIMITS, timeout_s, directory.stop)


class Blocking:
    """An AsyncStore's methods, waited for."""

    def __init__(self, store: AsyncStore, thread: LoopThread) -> None:
        self._store, self._thread = store, thread

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)
        if inspect.isasyncgenfunction(method):
            return lambda *args, **kwargs: self._each(method(*args, **kwargs))
        return lambda *args, **kwargs: self._thread.run(_waited_for(method, args, kwargs))

    def _each(self, steps: AsyncIterator[Any]) -> Iterator[Any]:
        end = object()

        async def step() -> Any:
            return await anext(steps, end)

        try:
            while (each := self._thread.run(step())) is not end:
                yield each
        finally:
            self._thread.run(steps.aclose())  # type: ignore[attr-defined] # a generator


async def _waited_for(method: Callable[..., Awaitable[Any]], args: Any, kwargs: Any) -> Any:
    return await method(*args, **kwargs)
