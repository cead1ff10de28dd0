"""Handing work to a thread, and its outcome back to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def hand_over(
    loop: asyncio.AbstractEventLoop, start: Callable[[Callable[[], None]], object], work: Callable[[], T]
) -> asyncio.Future[T]:
    """What `work` returns or raises, called in another thread. `start` has a function called there, such as an executor's
    `submit`; what it raises (an executor that was shut down does) is raised here. Whoever awaits the future may give up: the
    work goes on, and its outcome is dropped."""
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())  # never "not retrieved"

    def settle(end: Callable[[], None]) -> None:
        if not future.done():
            end()

    def run() -> None:
        try:
            result = work()
            end = partial(future.set_result, result)
        except BaseException as error:
            end = partial(future.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, end)

    start(run)
    return future
