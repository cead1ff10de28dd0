"""A bucket process under strace, and clients for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from harness.running_store import ROOT
from serve_app import operations
from serve_app.settings import Limits
from serve_app.wire import messages
from serve_app.wire.connection import ClientConnection, connect_tcp, open_connection
from serve_app.wire.endpoint import Endpoint


@contextmanager
def bucket_process(
    folder: Path, *options: str, strace: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[str], Endpoint]]:
    """A running bucket and its endpoint; killed at the end."""
    command = [*strace, sys.executable, "-m", "tests.support.bucket_process", str(folder), *options]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the bucket did not start: {process.stderr and process.stderr.read()}"
        said = json.loads(line)
        yield process, Endpoint((said["address"][0], said["address"][1]), said["token"], "")
    finally:
        # The bucket first: strace then ends by itself and writes out what it holds of the trace.
        for bucket in psutil.Process(process.pid).children() if process.poll() is None and strace else []:
            bucket.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10 if strace else 0)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


async def connected(endpoint: Endpoint) -> ClientConnection:
    connection, _ = await open_connection(endpoint, 0, "", Limits(), connect_tcp)
    return connection


async def put_many(endpoint: Endpoint, keys: Sequence[bytes], *, at_once: int = 16) -> dict[bytes, int]:
    """Put the keys, this many at once; the acknowledged ones with the id of their call. Ends quietly if the bucket does."""
    connection = await connected(endpoint)
    acknowledged: dict[bytes, int] = {}
    room = asyncio.Semaphore(at_once)
    loop = asyncio.get_running_loop()

    async def put(key: bytes) -> None:
        async with room:
            if not connection.open:
                return
            future = connection.call(operations.Put(key, b"v" * 100, ""), loop.time() + 60)
            call = connection._last_call
            try:
                answer = await future
            except Exception:
                return
            assert isinstance(answer, operations.Written)
            acknowledged[key] = call

    await asyncio.gather(*(put(key) for key in keys))
    if connection.open:  # once this is answered, the replies before it are whole in a trace
        await connection.call(messages.Inspect(), loop.time() + 60)
    connection.close()
    return acknowledged
