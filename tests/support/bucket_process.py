"""One bucket in a process of its own, without Ray: what the tests of system calls trace.

    python -m tests.support.bucket_process FOLDER [--without-sync] [--keep-freed-memory]

Prints one line of JSON with its address and token, then serves until it is killed. `--without-sync` takes the sync out, and
`--keep-freed-memory` leaves the allocator alone, to show that the tests notice.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import uvloop

from serve_app.bucket.server import BucketServer
from serve_app.cluster.allocator import give_large_blocks_back
from serve_app.settings import Limits
from serve_app.storage.engine import EngineFailed
from serve_app.storage.facts import topology_fact
from serve_app.storage.folder import open_folder
from serve_app.topology import first_topology

STORAGE_FAILED = 70


async def serve(folder: Path, *, sync: bool) -> None:
    """Bucket 0 of 1."""
    limits = Limits(disk_reserve_bytes=0)
    storage = open_folder(folder, 0, cache_bytes=1 << 20, write_buffer_bytes=1 << 22)
    if storage.facts.topology is None:
        storage.engine.write([], [topology_fact(first_topology((storage.own.identity,)))])
        storage.close()
        storage = open_folder(folder, 0, cache_bytes=1 << 20, write_buffer_bytes=1 << 22)
    if not sync:
        storage.engine._synced.sync = False

    def failed(error: EngineFailed) -> None:
        print(error, file=sys.stderr, flush=True)
        os._exit(STORAGE_FAILED)

    server = BucketServer(storage, limits, asyncio.get_running_loop(), failed=failed)
    endpoint = await server.start("127.0.0.1")
    print(json.dumps({"address": endpoint.address, "token": endpoint.token}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if "--keep-freed-memory" not in sys.argv:
        assert give_large_blocks_back()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1]), sync="--without-sync" not in sys.argv))
