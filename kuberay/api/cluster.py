"""The few calls on Kubernetes' own objects that the commands need, all with plain documents as Kubernetes writes them.

The client's classes of models rename fields and drop what they don't know, so answers are taken as the JSON that came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from kubernetes import client as kubernetes_client
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from kuberay.api.errors import Refused, Unreachable, document, sentences
from kuberay.api.rayservice import FIELD_MANAGER, Document

_TIMEOUT_S = (5.0, 30.0)  # to connect, to answer
#: A log that is followed may be silent for long.
_LONGEST_SILENCE_S = 24 * 3600.0
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class _Kind:
    """How the client names a kind: the class of its API group, and its part in the methods' names."""

    api: str
    name: str
    namespaced: bool = True


_KINDS = {
    "Namespace": _Kind("CoreV1Api", "namespace", namespaced=False),
    "ServiceAccount": _Kind("CoreV1Api", "service_account"),
    "Secret": _Kind("CoreV1Api", "secret"),
    "ConfigMap": _Kind("CoreV1Api", "config_map"),
    "PersistentVolumeClaim": _Kind("CoreV1Api", "persistent_volume_claim"),
    "Pod": _Kind("CoreV1Api", "pod"),
    "Service": _Kind("CoreV1Api", "service"),
    "Event": _Kind("CoreV1Api", "event"),
    "Deployment": _Kind("AppsV1Api", "deployment"),
    "Role": _Kind("RbacAuthorizationV1Api", "role"),
    "RoleBinding": _Kind("RbacAuthorizationV1Api", "role_binding"),
    "NetworkPolicy": _Kind("NetworkingV1Api", "network_policy"),
    "Ingress": _Kind("NetworkingV1Api", "ingress"),
    "PodDisruptionBudget": _Kind("PolicyV1Api", "pod_disruption_budget"),
}


class Cluster:
    """One namespace of one cluster."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        # Its methods' types are those of models, which is not what they return here.
        self._core: Any = kubernetes_client.CoreV1Api(client)

    def apply(self, document: Document, dry_run: bool = False) -> Document:
        """Create the object or make it what the document says (server-side apply)."""
        kind, name = document["kind"], document["metadata"]["name"]
        options: dict[str, Any] = {"field_manager": FIELD_MANAGER, "force": True, "_content_type": _APPLY}
        if dry_run:
            options["dry_run"] = "All"
        return self._call("patch", kind, f"apply the {_said(kind)} {name}", name=name, body=document, **options)

    def create(self, document: Document) -> Document:
        """Create the object. Raises Refused with status 409 where it exists."""
        kind, name = document["kind"], document["metadata"]["name"]
        return self._call("create", kind, f"create the {_said(kind)} {name}", body=document)

    def get(self, kind: str, name: str) -> Document | None:
        """An object, or None where there is none."""
        try:
            return self._call("read", kind, f"get the {_said(kind)} {name}", name=name)
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def list_all(self, kind: str, selector: str = "") -> list[Document]:
        """The namespace's objects of a kind; `selector` is a label selector."""
        found = self._call("list", kind, f"list {_said(kind)}s", label_selector=selector)
        # In a list the items don't say what they are.
        return [{"apiVersion": found["apiVersion"], "kind": kind, **item} for item in found["items"]]

    def patch(self, kind: str, name: str, body: Document) -> Document:
        """Merge `body` into an object (a JSON merge patch: lists are replaced)."""
        doing = f"change the {_said(kind)} {name}"
        return self._call("patch", kind, doing, name=name, body=body, field_manager=FIELD_MANAGER, _content_type=_MERGE)

    def delete(self, kind: str, name: str) -> bool:
        """Ask for an object to be deleted; False where there was none."""
        try:
            self._call("delete", kind, f"delete the {_said(kind)} {name}", name=name, propagation_policy="Background")
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def log_lines(
        self,
        pod: str,
        *,
        follow: bool = False,
        since_s: int | None = None,
        tail: int | None = None,
        previous: bool = False,
    ) -> Iterator[str]:
        """The lines that a pod's first container wrote, as they come where `follow` is set."""
        options: dict[str, Any] = {"follow": follow, "since_seconds": since_s, "tail_lines": tail, "previous": previous}
        with sentences(f"read the log of the pod {pod}"):
            response = self._core.read_namespaced_pod_log(
                pod,
                self.namespace,
                **{name: value for name, value in options.items() if value},
                _preload_content=False,
                _request_timeout=(_TIMEOUT_S[0], _LONGEST_SILENCE_S) if follow else _TIMEOUT_S,
            )
            rest = b""
            for part in response.stream(64 * 1024, decode_content=True):
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
            if rest:
                yield rest.decode(errors="replace")

    def through_service(
        self, service: str, port: str, path: str, timeout_s: float, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """What a service answers to GET, through the API server: status and body. headers: Authorization is none of them,
        which the API server keeps to itself.

        An error of the API server's own looks like an answer (a Status document). Raises Unreachable.
        """
        try:
            response = self._core.connect_get_namespaced_service_proxy_with_path(
                f"{service}:{port}",
                self.namespace,
                path,
                _headers=headers,
                _preload_content=False,
                _request_timeout=timeout_s,
            )
            return response.status, response.data.decode(errors="replace")
        except ApiException as error:
            return error.status or 0, error.body or str(error.reason)
        except HTTPError as error:
            raise Unreachable(f"{service} can't be reached through the API server: {error}") from None

    def _call(self, verb: str, kind: str, doing: str, **options: Any) -> Document:
        described = _KINDS[kind]
        scope = "namespaced_" if described.namespaced else ""
        if described.namespaced:
            options["namespace"] = self.namespace
        api = getattr(kubernetes_client, described.api)(self.client)
        with sentences(doing):
            response = getattr(api, f"{verb}_{scope}{described.name}")(
                **options, _preload_content=False, _request_timeout=_TIMEOUT_S
            )
            return document(response, doing)


def _said(kind: str) -> str:
    return kind.lower()
