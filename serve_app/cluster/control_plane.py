"""Finding buckets: the directory's control plane, on Ray's named actors.

Ray's calls for this block their thread, and hang while the cluster's head is away. So each bucket is looked for in a
thread of its own, one at a time, with a deadline: a lookup that hangs delays that bucket's return and nothing else.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from serve_app import events
from serve_app.cluster.answers import EndpointAnswer
from serve_app.cluster.fingerprint import Build
from serve_app.settings import NAMESPACE
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.link import BucketFault

#: How long a lookup is waited for; making a process takes a few seconds.
RESOLVE_TIMEOUT_S = 20.0
_ENDPOINT_TIMEOUT_S = 15.0


class RayControlPlane:
    """Implements `wire.link.ControlPlane`."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._pin = build.settings.pin_buckets
        self._questions: dict[int, tuple[Any, Any]] = {}
        self._under_way: dict[int, asyncio.Future[Endpoint]] = {}

    async def resolve(self, bucket_id: int) -> Endpoint:
        """Find the bucket's actor, or make it, and ask for its endpoint.

        Raises:
            BucketFault: it says why it does not serve.
            TimeoutError: Ray did not answer in time.
            RayError: Ray answered with an error; the bucket may be restarting.
        """
        # A lookup that is still hanging is waited for again rather than doubled: Ray may come back and finish it.
        future = self._under_way.get(bucket_id)
        if future is None or future.done():
            future = self._under_way[bucket_id] = self._in_thread(bucket_id)
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            return await asyncio.shield(future)

    def _in_thread(self, bucket_id: int) -> asyncio.Future[Endpoint]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Endpoint] = loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # never "not retrieved"

        def settle(result: Endpoint | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                assert result is not None
                future.set_result(result)

        def work() -> None:
            result: Endpoint | None = None
            error: BaseException | None = None
            try:
                result = self._resolve(bucket_id)
            except BaseException as caught:
                error = caught
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more

        threading.Thread(target=work, name=f"resolve-bucket-{bucket_id}", daemon=True).start()
        return future

    def _resolve(self, bucket_id: int) -> Endpoint:
        actor = self._actor(bucket_id)
        answer = self._ask(actor, bucket_id)
        if answer.fingerprint != self._build.fingerprint and answer.generation < self._build.generation:
            events.info(
                "bucket replaced", bucket=bucket_id, reason="made by an earlier build, with other settings or code"
            )
            ray.kill(actor, no_restart=True)
            answer = self._ask(self._actor(bucket_id), bucket_id)
        if answer.opening:
            raise ConnectionError(answer.fault)
        if answer.endpoint is None:
            raise BucketFault(answer.fault)
        return answer.endpoint

    def _actor(self, bucket_id: int) -> Any:
        # Here, for buckets find each other by this module too.
        from serve_app.cluster.bucket_actor import BucketActor

        name = f"bucket-{bucket_id}"
        return (
            ray.remote(BucketActor)
            .options(
                name=name,
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                max_restarts=-1,
                max_task_retries=0,
                max_concurrency=4,
                num_cpus=0,
                resources={name: 1} if self._pin else None,
            )
            .remote(bucket_id, self._build)
        )

    def _ask(self, actor: Any, bucket_id: int) -> EndpointAnswer:
        # An actor that is not placed yet keeps the question, so it is asked once and waited for again.
        question = self._questions.pop(bucket_id, None)
        if question is None or question[0] != actor._actor_id:
            question = (actor._actor_id, actor.endpoint.remote())
        try:
            answer: EndpointAnswer = ray.get(question[1], timeout=_ENDPOINT_TIMEOUT_S)
        except GetTimeoutError:
            self._questions[bucket_id] = question
            waiting = f"a node that offers the resource bucket-{bucket_id}" if self._pin else "its process"
            raise TimeoutError(f"bucket-{bucket_id} did not start in time: waiting for {waiting}") from None
        except RayError as error:
            # Ray's texts run over many lines; the first says what happened.
            raise ConnectionError(str(error).strip().splitlines()[0]) from error
        return answer
