"""What a bucket's actor answers on the control plane."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.wire.endpoint import Endpoint


@dataclass(frozen=True)
class EndpointAnswer:
    """What `endpoint` answers: an endpoint, or the fault that keeps the bucket from serving."""

    endpoint: Endpoint | None
    fault: str
    #: The storage is still being opened: worth waiting for, unlike a fault.
    opening: bool
    fingerprint: str
    generation: int
    #: Ray's id of the node that the bucket runs on: its loopback addresses mean nothing elsewhere.
    node_id: str = ""
    #: Of the code that it runs; and the versions of the data plane that it speaks, (0, 0) of a release that does not say.
    release: str = ""
    versions: tuple[int, int] = (0, 0)
