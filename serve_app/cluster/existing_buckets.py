"""Finding the buckets that a running store has, for an operator's commands and for clients inside the cluster.

Unlike a directory's control plane (control_plane.py) this never makes, replaces or ends an actor.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from serve_app import __version__
from serve_app.cluster.endpoint_answer import EndpointAnswer
from serve_app.cluster.ray_calls import actor_ids, buckets_told_of, first_line, in_thread
from serve_app.cluster.reaching import reachable
from serve_app.settings import NAMESPACE
from serve_app.wire import versions
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.link import BucketFault

_ENDPOINT_TIMEOUT_S = 10.0


class WrongRelease(BucketFault):
    """The bucket is of a release with which this one can't speak."""


class ExistingBuckets:
    """Implements `wire.link.ControlPlane`, making nothing."""

    async def ids(self) -> list[int]:
        """The ids of the buckets that have an actor, in order.

        Raises:
            Unavailable: Ray does not say.
        """
        return await buckets_told_of(in_thread(actor_ids, "list-buckets"))

    async def resolve(self, bucket_id: int) -> Endpoint:
        """Where a bucket listens.

        Raises:
            BucketFault: it says why it does not serve.
            WrongRelease: a BucketFault.
            ConnectionError, TimeoutError: there is no such actor, or it does not answer.
        """
        answer = await in_thread(lambda: _ask(f"bucket-{bucket_id}"), f"resolve-bucket-{bucket_id}")
        check_release(bucket_id, answer)
        if answer.opening:
            raise ConnectionError(answer.fault)
        if answer.endpoint is None:
            raise BucketFault(answer.fault)
        return answer.endpoint


def check_release(bucket_id: int, answer: EndpointAnswer) -> None:
    """Raises WrongRelease. A bucket that does not say what it speaks is of the first release, which is heard when it
    greets."""
    oldest, newest = answer.versions
    if newest and (newest < versions.OLDEST or oldest > versions.NEWEST):
        raise WrongRelease(
            f"bucket-{bucket_id} is of release {answer.release}, whose data plane has the versions {oldest} to {newest}; "
            f"this is release {__version__}, which speaks {versions.OLDEST} to {versions.NEWEST}: "
            "install the store's release here"
        )


def _ask(name: str) -> EndpointAnswer:
    try:
        actor = ray.get_actor(name, namespace=NAMESPACE)
        asked: Any = actor.endpoint.remote()
        answer: EndpointAnswer = ray.get(asked, timeout=_ENDPOINT_TIMEOUT_S)
        answer = reachable(actor, answer, _ENDPOINT_TIMEOUT_S)
    except ValueError:
        raise ConnectionError(f"there is no actor {name}") from None
    except GetTimeoutError:
        raise TimeoutError(f"the actor {name} does not answer: its process is not running yet") from None
    except RayError as error:
        raise ConnectionError(first_line(error)) from error
    return answer
