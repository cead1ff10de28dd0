"""What follows a topology when a bucket goes on without its data: the same, with another storage in the lost one's place."""

from __future__ import annotations

from serve_app.errors import InvalidRequest
from serve_app.topology import Topology
from serve_app.wire.messages import AcceptLoss


def after_loss(topology: Topology, body: AcceptLoss, now_ms: int) -> Topology | None:
    """The topology to be decided, or None where this one says so already. now_ms: since the Unix epoch.

    Raises:
        InvalidRequest: there is no such bucket, or it can't have such a storage.
    """
    if not 0 <= body.bucket_id < len(topology.identities):
        raise InvalidRequest(f"the store has no bucket-{body.bucket_id} that could have lost its data")
    if topology.identities[body.bucket_id] == body.identity:
        return None  # asked for twice
    try:
        return topology.accept_loss(body.bucket_id, body.identity, now_ms=now_ms)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
