"""Finding buckets: the directory's control plane, on Ray's named actors.

Each bucket is looked for in a thread of its own (ray_calls.py), one at a time, with a deadline: a lookup that hangs delays
that bucket's return and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from serve_app import events
from serve_app.cluster.build import Build
from serve_app.cluster.endpoint_answer import EndpointAnswer
from serve_app.cluster.ray_calls import actor_ids, buckets_told_of, first_line, in_thread, place_ids
from serve_app.cluster.reaching import reachable
from serve_app.errors import Unavailable
from serve_app.settings import NAMESPACE
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.link import BucketFault

#: How long a lookup is waited for; making a process takes a few seconds.
RESOLVE_TIMEOUT_S = 20.0
_ENDPOINT_TIMEOUT_S = 15.0
#: Nodes count as complete when none has come or gone for this long; a store is founded only then.
JOINED_S = 10.0


class RayControlPlane:
    """Implements `wire.link.ControlPlane`."""

    def __init__(self, build: Build, actor_class: type) -> None:
        """actor_class: what a bucket that has no actor is made an actor of. Handed in, for that class uses this one: buckets
        find each other as directories find them."""
        self._build = build
        self._actor_class = actor_class
        self._pin = build.settings.pin_buckets
        self._questions: dict[int, tuple[Any, Any]] = {}
        self._under_way: dict[int, asyncio.Future[Endpoint]] = {}
        self._listing: asyncio.Future[tuple[list[int], list[int]]] | None = None
        #: The buckets that nodes are there for, and since when they are the same ones.
        self._places: tuple[list[int], float] = ([], 0.0)

    async def resolve(self, bucket_id: int) -> Endpoint:
        """Find the bucket's actor, or make it, and ask for its endpoint.

        Raises:
            BucketFault: it says why it does not serve.
            TimeoutError: Ray did not answer in time.
            ConnectionError: the bucket waits for its node, or its storage is being opened.
            RayError: Ray answered with an error; the bucket may be restarting.
        """
        # A lookup that is still hanging is waited for again rather than doubled: Ray may come back and finish it.
        future = self._under_way.get(bucket_id)
        if future is None or future.done():
            name = f"resolve-bucket-{bucket_id}"
            future = self._under_way[bucket_id] = in_thread(lambda: self._resolve(bucket_id), name)
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            return await asyncio.shield(future)

    async def ids(self) -> list[int]:
        """The ids of the buckets that have an actor, or a node that is there for them alone, in order.

        Raises:
            Unavailable: Ray does not say, or its nodes are just joining.
        """
        if self._listing is not None and not self._listing.done():
            await buckets_told_of(self._listing)  # it still hangs, and what it says will be out of date
        self._listing = in_thread(self._ids, "list-buckets")
        actors, places = await buckets_told_of(self._listing)
        if self._pin:
            self._check_that_all_have_joined(places)
        return sorted({*actors, *places})

    def _ids(self) -> tuple[list[int], list[int]]:
        return actor_ids(), place_ids() if self._pin else []

    def _check_that_all_have_joined(self, places: list[int]) -> None:
        # A new cluster knows no actors, and its nodes join one by one: one of them may hold what belongs to a store.
        now_s = time.monotonic()
        if places != self._places[0]:
            self._places = places, now_s
        if now_s - self._places[1] < JOINED_S:
            raise Unavailable(f"nodes may still be joining: there are some for the buckets {places}")

    def _resolve(self, bucket_id: int) -> Endpoint:
        actor = self._actor(bucket_id)
        answer = self._ask(actor, bucket_id)
        if answer.fingerprint != self._build.fingerprint and answer.generation < self._build.generation:
            events.info(
                "bucket replaced", bucket=bucket_id, reason="made by an earlier build, with other settings or code"
            )
            ray.kill(actor, no_restart=True)
            actor = self._actor(bucket_id)
            answer = self._ask(actor, bucket_id)
        answer = reachable(actor, answer, _ENDPOINT_TIMEOUT_S)
        if answer.opening:
            raise ConnectionError(answer.fault)
        if answer.endpoint is None:
            raise BucketFault(answer.fault)
        return answer.endpoint

    def _actor(self, bucket_id: int) -> Any:
        name = f"bucket-{bucket_id}"
        try:
            return ray.get_actor(name, namespace=NAMESPACE)
        except ValueError:
            pass  # there is none yet
        if self._pin and bucket_id not in place_ids():
            # Made now it would wait for its node, for ever where there is none to come: it could not be told from a bucket
            # that is away with its data.
            raise ConnectionError(f"{name} waits for a node that offers the resource {name}")
        return (
            ray.remote(self._actor_class)
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
