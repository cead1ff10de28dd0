"""The bucket's server: its event loop's side of the data plane.

The server owns the connections, hands groups from the writer's thread back to them, and keeps a few threads for reads
that have to wait for the disk, so that those never hold up the loop.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from serve_app import events
from serve_app.bucket.bucket import Bucket, Storage
from serve_app.bucket.connection import BucketConnection, ColdRead
from serve_app.bucket.operations import InstallOperation
from serve_app.settings import Limits
from serve_app.storage.engine import EngineFailed
from serve_app.storage.group_commit import Operation
from serve_app.wire import messages, tls
from serve_app.wire.endpoint import Endpoint

_READ_THREADS = 4
_READ_BATCH_BYTES = 1024 * 1024


class BucketServer:
    """Serves one bucket on one loop. Everything but `_group_done` runs on that loop."""

    def __init__(
        self,
        storage: Storage,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        *,
        failed: Callable[[EngineFailed], None],
    ) -> None:
        """`failed` is called, in the writer's thread, when the storage can't go on: it must end the process."""
        self.loop = loop
        self.token = secrets.token_hex(32)
        self.max_queued_reads = limits.max_queued_reads
        self.bucket = Bucket(storage, limits, incarnation=secrets.token_hex(8), done=self._group_done, failed=failed)
        self._max_connections = limits.max_connections
        self._connections: set[BucketConnection] = set()
        self._readers = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="reader")
        self._server: asyncio.Server | None = None
        self._was_full = False

    async def start(self, host: str) -> Endpoint:
        """Listen on a free port of `host`; returns what a directory needs to connect."""
        self.bucket.writer.start()
        self._server = await self.loop.create_server(
            lambda: BucketConnection(self), host, 0, ssl=tls.server_context(), backlog=256
        )
        port = self._server.sockets[0].getsockname()[1]
        return Endpoint((host, port), self.token, self.bucket.incarnation)

    async def stop(self) -> None:
        """Take no more requests, commit what is queued, answer it, and close all connections."""
        if self._server is not None:
            self._server.close()
        await self.loop.run_in_executor(None, self.bucket.writer.stop)
        await asyncio.sleep(0)  # the last group's `_finish_group` is queued before this
        for connection in list(self._connections):
            connection.close()
        self._readers.shutdown(wait=True)

    # -- for connections ---------------------------------------------------------------------------------------------

    def admit(self, connection: BucketConnection) -> bool:
        """Whether one more connection may stay."""
        if len(self._connections) >= self._max_connections:
            events.warning("connection refused", bucket=self.bucket.bucket_id, reason="too many connections")
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: BucketConnection) -> None:
        self._connections.discard(connection)

    def read_in_thread(
        self,
        batch: list[ColdRead],
        done: Callable[[list[tuple[messages.Reply, float]], list[ColdRead]], None],
    ) -> None:
        """Answer reads that the disk has to be asked for, off the loop.

        `done` gets, on the loop, the replies and the reads that are left: a batch stops early when its values grow large, so
        that what is held for a peer stays bounded.
        """

        def work() -> None:
            replies: list[tuple[messages.Reply, float]] = []
            size = 0
            for request, arrived_s in batch:
                reply = self.bucket.read(request, arrived_s)
                replies.append((reply, arrived_s))
                size += len(reply.value) if isinstance(reply, messages.Value) else 0
                if size > _READ_BATCH_BYTES:
                    break
            self.loop.call_soon_threadsafe(done, replies, batch[len(replies) :])

        self._readers.submit(work)

    # -- groups ------------------------------------------------------------------------------------------------------

    def _group_done(self, group: list[Operation]) -> None:
        self.loop.call_soon_threadsafe(self._finish_group, group)

    def _finish_group(self, group: list[Operation]) -> None:
        bucket = self.bucket
        bucket.writer.release(group)
        touched: set[BucketConnection] = set()
        for operation in group:
            if isinstance(operation, InstallOperation):
                if operation.installed is not None:
                    bucket.take_topology(operation.installed)
                if operation.reply is None:
                    operation.reply = bucket.status(operation.call)
            connection: BucketConnection = operation.reply_to  # type: ignore[attr-defined]
            connection.finish(operation)  # type: ignore[arg-type]
            touched.add(connection)
        for connection in touched:
            connection.flush()
        if bucket.disk_full != self._was_full:
            self._was_full = bucket.disk_full
            if self._was_full:
                events.warning("disk full", bucket=bucket.bucket_id, free_bytes=bucket.status(0).free_bytes)
            else:
                events.info("disk has room again", bucket=bucket.bucket_id)
