"""An event loop in a thread of its own, and how other threads have something done there."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


class LoopThread:
    """Runs until `stop`, or as long as the process."""

    def __init__(self, name: str) -> None:
        self._loop = uvloop.new_event_loop()
        self._process = os.getpid()
        self._stopped = False
        #: Held where something is handed to the loop: what it gets before its end it does.
        self._handing_over = threading.Lock()
        self._cleaning_up: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of it. One who is interrupted while waiting cancels it.

        Raises:
            RuntimeError: the loop is stopped, or is that of the process that this one was forked from.
        """
        waiter = _Waiter(work)
        try:
            self._hand_over(waiter.begin)
        except RuntimeError:
            work.close()
            raise
        result: T = waiter.wait(self._loop)
        return result

    def clean_up(self, work: Coroutine[Any, Any, None]) -> None:
        """Have it done, and don't wait: this may be called by the garbage collector, in whatever thread. On a loop that is
        stopped there is nothing left to clean up."""

        def begin() -> None:
            task = self._loop.create_task(work)
            self._cleaning_up.add(task)
            task.add_done_callback(self._cleaning_up.discard)

        try:
            self._loop.call_soon_threadsafe(begin)
        except RuntimeError:
            work.close()

    def stop(self) -> None:
        """Stop it; what still runs there is cancelled, and whoever waits for it hears of that."""
        if self._process != os.getpid():
            return  # there is no such thread here
        with self._handing_over:
            if self._stopped:
                return
            self._stopped = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _hand_over(self, begin: Callable[[], None]) -> None:
        if self._process != os.getpid():
            raise RuntimeError("a forked process can't use its parent's store: connect anew")
        if threading.current_thread() is self._thread:
            raise RuntimeError("the store is used on its own loop, which can't wait for itself")
        with self._handing_over:
            if self._stopped:
                raise RuntimeError("the store is closed")
            self._loop.call_soon_threadsafe(begin)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            while left := asyncio.all_tasks(self._loop):
                for task in left:
                    task.cancel()
                self._loop.run_until_complete(asyncio.wait(left))
        finally:
            self._loop.close()


class _Waiter:
    """One who waits in another thread. With a lock alone: a `concurrent.futures.Future` takes three times as long."""

    __slots__ = ("_done", "_task", "_work")

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self._task: asyncio.Task[Any] | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def begin(self) -> None:
        """On the loop."""
        self._task = task = asyncio.get_running_loop().create_task(self._work)
        task.add_done_callback(lambda _: self._done.release())

    def wait(self, loop: asyncio.AbstractEventLoop) -> Any:
        try:
            self._done.acquire()
        except BaseException:
            loop.call_soon_threadsafe(self._cancel)
            raise
        assert self._task is not None, "it has begun, for it is done"
        return self._task.result()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
