"""What the running store says of itself, asked through the API server: no port-forward, no address to find out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from kuberay.api.cluster import Cluster
from kuberay.api.errors import Refused, Unreachable
from kuberay.manifests import NAME
from serve_app.command_output.token import how_to_go_on, own_token, wants_another
from serve_app.http.models import BucketStatus, TopologyAnswer

SERVICE = f"{NAME}-serve-svc"
PORT = "serve"
_TIMEOUT_S = 10.0
#: The store takes a token by this header too: the API server passes no Authorization on.
_HEADER = "X-Cloud-Storage-Token"


@dataclass(frozen=True)
class Reply:
    """The store's topology, or why there is none."""

    topology: TopologyAnswer | None
    trouble: str = ""

    @property
    def unreachable(self) -> list[BucketStatus]:
        """The buckets that don't serve."""
        return [bucket for bucket in self.topology.buckets if not bucket.reachable] if self.topology else []

    @property
    def all_reachable(self) -> bool:
        """Whether the store is up, with every bucket."""
        return self.topology is not None and not self.unreachable


class Store:
    """The HTTP API behind the Serve service."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def topology(self) -> Reply:
        """What /topology says.

        Raises:
            Refused: the API server lets nobody like us through, or the store wants another token.
            Failure: the environment's token can't be one.
        """
        token = own_token()
        document, trouble = self._ask("topology", {_HEADER: token} if token else None)
        if document is None:
            return Reply(None, trouble)
        try:
            return Reply(TopologyAnswer.model_validate(document))
        except ValidationError:
            return Reply(None, "its /topology is of another version than this command")

    def answers(self) -> bool:
        """Whether it takes requests at all."""
        return self._ask("health")[0] is not None

    def _ask(self, path: str, headers: dict[str, str] | None = None) -> tuple[dict[str, Any] | None, str]:
        """The document that it answers, or None and why there is none."""
        try:
            status, body = self._cluster.through_service(SERVICE, PORT, path, _TIMEOUT_S, headers)
        except Unreachable as unreachable:
            return None, str(unreachable)
        try:
            document = json.loads(body)
        except ValueError:
            return None, f"something answers {status}, and it is not the store"
        if not isinstance(document, dict):
            return None, f"something answers {status}, and it is not the store"
        if status == HTTPStatus.OK:
            return document, ""
        if document.get("kind") == "Status" and status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Refused(f"no permission to ask the store through the API server: {document.get('message')}", status)
        if wants_another(status) and str(document.get("type")).startswith("urn:cloud-storage:"):
            raise Refused(how_to_go_on(str(document.get("detail")), "admin", "python -m kuberay"), status)
        # The API server's own words come as a Status, the store's as a problem document.
        return None, str(document.get("message") or document.get("detail") or f"it answers {status}")
