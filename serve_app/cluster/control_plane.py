"""Finding buckets: the directory's control plane, on Ray's named actors.

Each bucket is looked for in a thread of its own (ray_calls.py), one at a time, with a deadline: a lookup that hangs delays
that bucket's return and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError

from serve_app import events
from serve_app.cluster.answers import EndpointAnswer
from serve_app.cluster.fingerprint import Build
from serve_app.cluster.ray_calls import actor_ids, first_line, in_thread, place_ids
from serve_app.errors import Unavailable
from serve_app.settings import NAMESPACE
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.link import BucketFault

T = TypeVar("T")

#: How long a lookup is waited for; making a process takes a few seconds.
RESOLVE_TIMEOUT_S = 20.0
_ENDPOINT_TIMEOUT_S = 15.0
_LIST_TIMEOUT_S = 5.0
#: In place of an id: the question which buckets there are.
_ALL = -1


class RayControlPlane:
    """Implements `wire.link.ControlPlane`."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._pin = build.settings.pin_buckets
        self._questions: dict[int, tuple[Any, Any]] = {}
        self._under_way: dict[int, asyncio.Future[Any]] = {}

    async def resolve(self, bucket_id: int) -> Endpoint:
        """Find the bucket's actor, or make it, and ask for its endpoint.

        Raises:
            BucketFault: it says why it does not serve.
            TimeoutError: Ray did not answer in time.
            RayError: Ray answered with an error; the bucket may be restarting.
        """
        return await self._ask_once(bucket_id, lambda: self._resolve(bucket_id), RESOLVE_TIMEOUT_S)

    async def ids(self) -> list[int]:
        """The ids of the buckets that have an actor, or a node that is there for them alone, in order.

        Raises:
            Unavailable: Ray does not say.
        """
        try:
            return await self._ask_once(_ALL, self._ids, _LIST_TIMEOUT_S)
        except TimeoutError:
            raise Unavailable("Ray does not say in time which buckets there are: its head may be away") from None
        except RayError as error:
            raise Unavailable(f"Ray does not say which buckets there are: {first_line(error)}") from error

    async def _ask_once(self, what: int, work: Callable[[], T], timeout_s: float) -> T:
        # One that is still hanging is waited for again rather than doubled: Ray may come back and finish it.
        future = self._under_way.get(what)
        if future is None or future.done():
            future = self._under_way[what] = in_thread(work)
        async with asyncio.timeout(timeout_s):
            answer: T = await asyncio.shield(future)
            return answer

    def _ids(self) -> list[int]:
        return sorted({*actor_ids(), *(place_ids() if self._pin else ())})

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
            raise ConnectionError(first_line(error)) from error
        return answer
