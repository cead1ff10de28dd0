"""An asyncio event loop on simulated time, for many simulated processes at once.

Nothing waits: when no callback is due, the clock jumps to the next timer. Callbacks run in the order in which they were asked
for, so a run is repeated exactly by repeating its choices. Every callback belongs to the process in whose context it was
asked for, as tasks and timers inherit contexts: those of a dead process are dropped, those of a sleeping one wait.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from tests.simulation.threads import SteppedThread

if TYPE_CHECKING:
    from tests.simulation.network import Network

T = TypeVar("T")
#: Callbacks run without the clock moving: whoever goes on for ever without waiting is found out.
_MAX_AT_ONE_INSTANT = 200_000


class Process:
    """What dies, or sleeps, as one. Its tasks are kept, so that none is cleaned up (and runs its `finally`) in the run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.asleep = False
        #: Seconds it has slept, so that nobody blames it for them.
        self.slept_s = 0.0
        self.tasks: list[asyncio.Task[Any]] = []
        self.waiting: list[Handle] = []
        self.context = Context()
        self.context.run(_process.set, self)

    def __repr__(self) -> str:
        return self.name


_process: ContextVar[Process | None] = ContextVar("process", default=None)


def current_process() -> Process | None:
    """The process that the running callback belongs to; None for the world outside."""
    return _process.get()


class Handle:
    """A callback asked for. Slimmer than asyncio's, which this stands for."""

    __slots__ = ("args", "callback", "cancelled_", "context", "process", "when_s")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, when_s: float) -> None:
        self.callback, self.args, self.context, self.when_s = callback, args, context, when_s
        self.process = context.get(_process)
        self.cancelled_ = False

    def cancel(self) -> None:
        self.cancelled_ = True

    def cancelled(self) -> bool:
        return self.cancelled_

    def when(self) -> float:
        return self.when_s


class SimulatedLoop(asyncio.AbstractEventLoop):
    """See the module. Make one with `new_loop`."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._timer_number = 0
        self._closed = False
        self.callbacks = 0
        #: What no code caught.
        self.failures: list[str] = []
        self.network: Network | None = None
        #: While a thread of some process runs: how long it takes until the loop hears of what the thread hands over.
        self.handover_s: Callable[[], float] | None = None
        self._threads: list[SteppedThread] = []
        self._outside = Process("outside")
        #: Every process there ever was.
        self.processes: list[Process] = []

    # -- running -----------------------------------------------------------------------------------------------------

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run until `main` ends, then forget whatever is left."""
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(main)
            ready, timers = self._ready, self._timers
            at_this_instant = 0
            while not task.done():
                if not ready:
                    if not timers:
                        raise RuntimeError("everybody waits for ever")
                    self._now_s = max(self._now_s, timers[0][0])
                    at_this_instant = 0
                    while timers and timers[0][0] <= self._now_s:
                        ready.append(heapq.heappop(timers)[2])
                handle = ready.popleft()
                if handle.cancelled_:
                    continue
                process = handle.process
                if process is not None:
                    if not process.alive:
                        continue
                    if process.asleep:
                        process.waiting.append(handle)
                        continue
                at_this_instant += 1
                if at_this_instant > _MAX_AT_ONE_INSTANT:
                    raise RuntimeError(f"{process} runs on and on at {self._now_s}: {handle.callback!r}")
                try:
                    handle.context.run(handle.callback, *handle.args)
                except Exception as error:
                    self.failures.append(f"{process}: {handle.callback!r} raised {error!r}")
                self.callbacks += 1
            return task.result()
        finally:
            asyncio._set_running_loop(None)
            self._end()

    def _end(self) -> None:
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        for thread in self._threads:
            thread.abandon()
        for process in [*self.processes, self._outside]:
            process.waiting.clear()
            for task in process.tasks:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    coroutine = task.get_coro()
                    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == "CORO_CREATED":
                        coroutine.close()  # or Python would warn that nobody awaited it
                elif not task.cancelled():
                    # Whoever would have looked at an exception may have been killed first.
                    if task._log_traceback and process.alive:
                        self.failures.append(f"{process}: {task.get_name()} died of {task.exception()!r}")
                    task.exception()

    def close_tasks(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """After the run: end those that wait in generators, which would come to their ends when they are cleaned up, and find
        no loop."""
        asyncio._set_running_loop(self)
        try:
            for task in tasks:
                if not task.done() and inspect.iscoroutine(coroutine := task.get_coro()):
                    coroutine.close()
            for task in self._outside.tasks:  # what they have begun to stop
                coroutine = task.get_coro()
                if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == "CORO_CREATED":
                    coroutine.close()
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
        finally:
            asyncio._set_running_loop(None)

    def sleep(self, process: Process) -> None:
        """Stop a process, as SIGSTOP does: time goes on, and what it asked for waits."""
        process.asleep = True
        process.slept_s -= self._now_s

    def wake(self, process: Process) -> None:
        """Let it go on with all that has become due meanwhile."""
        process.asleep = False
        process.slept_s += self._now_s
        self._ready.extend(process.waiting)
        process.waiting = []

    # -- what asyncio asks of a loop -----------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now_s

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Handle:  # type: ignore[override]
        handle = Handle(callback, args, context if context is not None else copy_context(), self._now_s)
        if not self._closed:
            self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        if self.handover_s is None:
            return self.call_soon(callback, *args, context=context)
        return self.call_later(self.handover_s(), callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, context if context is not None else copy_context(), when)
        if not self._closed:
            self._timer_number += 1
            heapq.heappush(self._timers, (when, self._timer_number, handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        process = (context or copy_context()).get(_process) or self._outside
        process.tasks.append(task)
        return task

    def process(self, name: str) -> Process:
        """A new process."""
        process = Process(name)
        self.processes.append(process)
        return process

    def thread(self, work: Callable[[], object]) -> SteppedThread:
        """A new thread of the running process; it waits for its first step."""
        self._threads = [thread for thread in self._threads if not thread.ended]
        self._threads.append(thread := SteppedThread(work))
        return thread

    def kill(self, process: Process) -> None:
        """Nothing of it runs ever again."""
        if process.asleep:
            self.wake(process)
        process.alive = False

    async def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> T:  # type: ignore[override]
        return func(*args)

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        assert self.network is not None
        return self.network.listen(protocol_factory, host)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        assert self.network is not None
        return await self.network.connect(protocol_factory, (host, port))

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._closed:
            self.failures.append(f"{current_process()}: {context.get('message')}: {context.get('exception')!r}")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)


def new_loop() -> SimulatedLoop:
    """A loop whose clock stands at 0. It does without what it is not asked for: sockets, signals, subprocesses."""
    return SimulatedLoop()  # type: ignore[abstract]
