"""Finding the store of the Ray cluster that this process is in, for clients inside it: `serve_app.connect`.

All sync stores of a process share one directory, and so one connection to each bucket. It stays for a while after the last
store was closed: many tasks run in one process after each other.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import weakref
from typing import Any

import ray

from cloud_storage import AsyncStore, Store
from cloud_storage.attempts import check_timeout
from cloud_storage.errors import Incompatible, Unavailable
from serve_app import __version__, errors
from serve_app.cluster.existing_buckets import ExistingBuckets, WrongRelease
from serve_app.cluster.ray_calls import actor_ids, buckets_told_of, in_thread
from serve_app.directory.directory import Directory
from serve_app.inside.async_store import InsideAsyncStore
from serve_app.inside.loop_thread import LoopThread
from serve_app.inside.patient import UNDER_WAY
from serve_app.inside.store import InsideStore
from serve_app.settings import Limits

#: Who waits for a bucket or the topology is one of those that `patient.py` lets under way.
LIMITS = Limits(max_waiting_per_bucket=2 * UNDER_WAY, max_waiting_for_topology=2 * UNDER_WAY)
LINGER_S = 10.0
_NO_RAY = "this process is in no Ray cluster: call `ray.init` first, or run it in one of the cluster's tasks or actors"
_NO_STORE = (
    "there is no store in this Ray cluster: none of its actors is a bucket (`serve run serve_config.yaml` starts one)"
)


def connect(timeout: float) -> Store:
    """See `serve_app.connect`."""
    _check(timeout)
    with _lock:
        shared = _Shared.current()
        shared.users += 1
    try:
        shared.find(timeout)
    except BaseException:
        shared.release()
        raise

    async def make() -> InsideAsyncStore:
        return InsideAsyncStore(shared.directory, LIMITS, timeout, _nothing)

    finalizer: Any = None
    store = InsideStore(shared.thread.run(make()), shared.thread, lambda: finalizer())
    finalizer = weakref.finalize(store, shared.release)
    finalizer.atexit = False
    return store


async def connect_async(timeout_s: float) -> AsyncStore:
    """See `serve_app.connect_async`."""
    _check(timeout_s)
    directory = await _started()
    try:
        await _find(directory, timeout_s)
    except BaseException:
        await directory.stop()
        raise
    return InsideAsyncStore(directory, LIMITS, timeout_s, directory.stop)


def _check(timeout: float) -> None:
    check_timeout(timeout)
    if not ray.is_initialized():
        raise Unavailable(_NO_RAY)
    logger = logging.getLogger("serve_app")
    if not logger.handlers:  # it is the user's process: what is shown there is theirs to say
        logger.addHandler(logging.NullHandler())


async def _started() -> Directory:
    """One of this process's own."""
    directory = Directory(ExistingBuckets(), LIMITS, guest=True)
    await directory.start()
    return directory


async def _find(directory: Directory, timeout_s: float) -> None:
    """Return when the directory knows the store.

    Raises:
        Incompatible: the store is of another release, which speaks otherwise.
        Unavailable: there is none, or it is not up in time.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    try:
        ids = await buckets_told_of(in_thread(actor_ids, "list-buckets"))
    except errors.Unavailable as error:
        raise Unavailable(str(error)) from None
    if not ids:
        raise Unavailable(_NO_STORE)
    finding = asyncio.ensure_future(directory.view.wait_for_topology(deadline_s))
    asking = asyncio.ensure_future(_refuse_others(ids[0]))
    try:
        await asyncio.wait({finding, asking}, return_when=asyncio.FIRST_COMPLETED)
        if asking.done() and not finding.done():
            asking.result()
        await finding
    except errors.Unavailable as error:
        raise Unavailable(
            f"{error} (a bucket hangs up on who speaks otherwise; this is release {__version__})"
        ) from None
    finally:
        for task in (finding, asking):
            task.cancel()
        await asyncio.gather(finding, asking, return_exceptions=True)


async def _refuse_others(bucket_id: int) -> None:
    """Raises Incompatible where a bucket says that it is of a release with which nobody here can speak."""
    try:
        await ExistingBuckets().resolve(bucket_id)
    except WrongRelease as error:
        raise Incompatible(str(error)) from None
    except Exception:  # it does not say: then it is found, or not, as by any directory
        return


async def _nothing() -> None:
    """The directory is not one store's alone."""


class _Shared:
    """One directory on a loop of its own, for all sync stores of this process. users: how many those are."""

    _now: _Shared | None = None

    def __init__(self, address: str) -> None:
        self.process, self.address = os.getpid(), address
        self.users = 0
        self._found = False
        self._finding = threading.Lock()
        self._timer: threading.Timer | None = None
        self.thread = LoopThread("cloud-storage")
        self.directory: Directory = self.thread.run(_started())

    @classmethod
    def current(cls) -> _Shared:
        """With the lock held."""
        address = ray.get_runtime_context().gcs_address
        now = cls._now
        if now is None or (now.process, now.address) != (os.getpid(), address):
            now = cls._now = cls(address)
        if now._timer is not None:
            now._timer.cancel()
            now._timer = None
        return now

    def find(self, timeout: float) -> None:
        """Raises as `_find`."""
        with self._finding:
            if not self._found:
                self.thread.run(_find(self.directory, timeout))
                self._found = True

    def release(self) -> None:
        """A store was closed, or nobody has it any more."""
        with _lock:
            self.users -= 1
            if not self.users and self.process == os.getpid():
                self._timer = threading.Timer(LINGER_S, self._end)
                self._timer.daemon = True
                self._timer.start()

    def _end(self) -> None:
        with _lock:
            if self.users:
                return
            if _Shared._now is self:
                _Shared._now = None
        self.stop()

    def stop(self) -> None:
        """Close the connections."""
        try:
            self.thread.run(self.directory.stop())
        except RuntimeError:  # it has ended already
            return
        self.thread.stop()

    @classmethod
    def stop_all(cls) -> None:
        """At the end of the process: a thread that goes on while the interpreter is taken down may crash it."""
        with _lock:
            now, cls._now = cls._now, None
        if now is not None:
            now.thread.stop()


#: A garbage collection may release a store wherever this thread is: it may have the lock already.
_lock = threading.RLock()
atexit.register(_Shared.stop_all)
