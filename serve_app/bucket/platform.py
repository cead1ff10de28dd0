"""What a bucket takes from the machine it runs on, beside its disk and its event loop.

Clocks, random ids and threads: all that would make two runs differ. The simulation hands in its own.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from serve_app.storage.writer import Writer, WriterThread

_READ_THREADS = 4


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _reading_threads() -> Executor:
    return ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="reader")


@dataclass(frozen=True)
class Platform:
    """The real machine; each part may be replaced.

    monotonic_s: seconds, for deadlines. now_ms: milliseconds since the Unix epoch, for records.
    new_id: a random id of this many bytes, in hex. writer: makes what writes groups. readers: makes what runs the reads that
        have to wait for the disk; what they answer comes back by the loop's `call_soon_threadsafe`.
    """

    monotonic_s: Callable[[], float] = time.monotonic
    now_ms: Callable[[], int] = _now_ms
    new_id: Callable[[int], str] = secrets.token_hex
    writer: Callable[..., Writer] = WriterThread
    readers: Callable[[], Executor] = _reading_threads
