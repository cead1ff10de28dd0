"""The Ray actor of one bucket: a process that opens the storage, serves the data plane, and says where.

Ray calls are the control plane only. The bucket's own loop runs in a thread beside Ray's, so neither waits for the other.
An exception in `__init__` would kill the actor for good (Ray restarts crashes, not failed constructors), so whatever goes
wrong there becomes a fault that `endpoint` reports.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import ray
import uvloop

from serve_app import __version__, events
from serve_app.bucket.server import BucketServer
from serve_app.cluster.allocator import give_large_blocks_back
from serve_app.cluster.build import Build
from serve_app.cluster.control_plane import RayControlPlane
from serve_app.cluster.endpoint_answer import EndpointAnswer
from serve_app.cluster.garbage_collector import collect_less_often
from serve_app.cluster.metrics import export_bucket
from serve_app.cluster.reaching import first_address
from serve_app.errors import StorageFault
from serve_app.settings import NAMESPACE, Limits
from serve_app.storage import private
from serve_app.storage.engine import EngineFailed
from serve_app.storage.folder import OpenedStorage, open_folder, sibling_ids
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.versions import NEWEST, OLDEST

#: Exit code of a bucket whose disk refused a write; Ray restarts it, and it replays its log.
STORAGE_FAILED_EXIT_CODE = 70
_REOPEN_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_UNEXPECTED_PAUSE_S = 5.0
_OPENING = "the storage is being opened"
#: How long listening on a further address is waited for.
_LISTEN_TIMEOUT_S = 5.0


def _node_address() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


class BucketActor:
    """Wrapped with `ray.remote` where it is created (control_plane.py)."""

    def __init__(self, bucket_id: int, build: Build) -> None:
        self._bucket_id = bucket_id
        self._build = build
        #: The endpoint, or the fault that keeps it from serving. One value: Ray's threads ask while our own changes it.
        self._state: tuple[Endpoint | None, str] = (None, _OPENING)
        self._settled = threading.Event()
        self._retiring: threading.Thread | None = None
        self._server: BucketServer | None = None
        self._opening_to_nodes = threading.Lock()
        threading.Thread(target=self._main, name=f"bucket-{bucket_id}", daemon=True).start()

    def endpoint(self, wait_s: float = 3.0) -> EndpointAnswer:
        """Where the bucket listens, or why it does not; waits a little while the storage is being opened."""
        opening = not self._settled.wait(wait_s)
        return self._answer(*self._state, opening)

    def open_to_other_nodes(self) -> EndpointAnswer:
        """Listen on the node's address, if that is not done yet: somebody on another node has to reach this bucket.

        Raises:
            OSError, TimeoutError: it can't be listened on.
        """
        if self._build.settings.data_plane_host == "loopback":
            return self._answer(
                None,
                f"bucket-{self._bucket_id} listens for its own node alone, as args.data_plane_host says, and was asked for "
                "from another node",
            )
        with self._opening_to_nodes:
            server, (endpoint, fault), address = self._server, self._state, _node_address()
            if server is not None and endpoint is not None and endpoint.address[0] != address:
                listening = asyncio.run_coroutine_threadsafe(server.listen(address), server.loop)
                self._state = listening.result(_LISTEN_TIMEOUT_S), fault
                events.info(
                    "data plane opened", bucket=self._bucket_id, address=address, reason="asked for from another node"
                )
        return self.endpoint()

    def _answer(self, endpoint: Endpoint | None, fault: str, opening: bool = False) -> EndpointAnswer:
        build, node_id = self._build, ray.get_runtime_context().get_node_id()
        return EndpointAnswer(
            endpoint, fault, opening, build.fingerprint, build.generation, node_id, __version__, (OLDEST, NEWEST)
        )

    def _main(self) -> None:
        try:
            settings = self._build.settings
            events.configure(settings.log_level)
            give_large_blocks_back()
            private.keep()
            if ray.get_runtime_context().was_current_actor_reconstructed:
                events.warning("bucket restarted", bucket=self._bucket_id, reason="its process before this one ended")
            storage = self._open(settings.data_dir / f"bucket-{self._bucket_id}", settings.limits)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(storage, settings.limits))
        except BaseException as error:
            self._state = None, f"bucket-{self._bucket_id} stopped on an unexpected error: {error!r}"
            self._settled.set()
            events.error("bucket stopped", exc_info=error, bucket=self._bucket_id)
            # The data is safe; a new process may do better. Slowly, so that it does not spin.
            time.sleep(_UNEXPECTED_PAUSE_S)
            os._exit(STORAGE_FAILED_EXIT_CODE)

    def _open(self, folder: Path, limits: Limits) -> OpenedStorage:
        """The open storage. A fault that may pass is waited out; for the others this never returns."""
        attempt = 0
        while True:
            started_s = time.monotonic()
            try:
                storage = open_folder(
                    folder,
                    self._bucket_id,
                    cache_bytes=limits.cache_bytes,
                    write_buffer_bytes=limits.write_buffer_bytes,
                    max_group_bytes=limits.max_group_bytes,
                )
            except StorageFault as fault:
                if str(fault) != self._state[1]:
                    events.error("storage " + fault.kind, bucket=self._bucket_id, error=str(fault))
                self._state = None, str(fault)
                # A lock that an earlier incarnation still holds is gone in a moment: not worth a report at once.
                if fault.kind != "in-use" or attempt > 3:
                    self._settled.set()
                while not fault.transient:
                    time.sleep(3600)
                time.sleep(_REOPEN_S[min(attempt, len(_REOPEN_S) - 1)])
                attempt += 1
                continue
            events.info(
                "bucket opened",
                bucket=self._bucket_id,
                folder=str(folder),
                created=storage.created,
                identity=storage.own.identity,
                keys=storage.facts.totals.keys,
                seconds=round(time.monotonic() - started_s, 3),
            )
            if storage.tail_set_aside is not None:
                events.warning("torn log tail set aside", bucket=self._bucket_id, kept=str(storage.tail_set_aside))
            return storage

    async def _serve(self, storage: OpenedStorage, limits: Limits) -> None:
        server = BucketServer(storage, limits, asyncio.get_running_loop(), failed=self._storage_failed)
        server.bucket.siblings = sibling_ids(self._build.settings.data_dir, self._bucket_id)
        if storage.tail_set_aside is not None:
            server.bucket.last_error = f"a torn log tail was set aside: {storage.tail_set_aside}"
        endpoint = await server.start(first_address(self._build, _node_address()))
        self._server = server
        server.take_part_in_moves(RayControlPlane(self._build, BucketActor), retired=self._retire)
        self._state = endpoint, ""
        self._settled.set()
        export_bucket(server.bucket)
        collect_less_often()
        await asyncio.Event().wait()

    def _retire(self) -> None:
        """No store needs this bucket, which holds nothing: end for good, and leave the volume.

        An actor that exits is restarted; one that is killed with `no_restart` is not. In a thread, for Ray's calls block.
        """
        if self._retiring is not None and self._retiring.is_alive():
            return  # Ray does not answer
        events.info("bucket retired", bucket=self._bucket_id)

        def end() -> None:
            try:
                ray.kill(ray.get_actor(f"bucket-{self._bucket_id}", namespace=NAMESPACE), no_restart=True)
            except Exception as error:  # it holds nothing and serves nothing: it does no harm by staying
                events.warning("bucket not ended", bucket=self._bucket_id, error=repr(error))

        self._retiring = threading.Thread(target=end, name="retire", daemon=True)
        self._retiring.start()

    def _storage_failed(self, error: EngineFailed) -> None:
        """A sync failed: what the disk holds is only known after a replay, so the process ends at once."""
        events.error("storage failed", bucket=self._bucket_id, error=str(error))
        os._exit(STORAGE_FAILED_EXIT_CODE)
