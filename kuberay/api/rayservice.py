"""RayServices and RayClusters through Kubernetes' official client.

KubeRay's own Python client covers RayCluster and RayJob, not RayService, and is not on the package index. So this is
its missing class, in its shape (`RayClusterApi` in clients/python-client): same methods, same argument names, with one
difference: what goes wrong is raised as a sentence rather than logged and returned as None.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from kubernetes.client import ApiClient, CustomObjectsApi

from kuberay.api.errors import Refused, document, sentences

Document = dict[str, Any]

GROUP = "ray.io"
VERSION = "v1"
FIELD_MANAGER = "cloud-storage"
FINALIZER = "ray.io/rayservice-finalizer"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_TIMEOUT_S = (5.0, 30.0)  # to connect, to answer


class _CustomResource:
    """The calls that RayService and RayCluster have in common."""

    def __init__(self, client: ApiClient, plural: str) -> None:
        self._api = CustomObjectsApi(client)
        self._plural = plural

    def _where(self, namespace: str) -> dict[str, Any]:
        return {
            "group": GROUP,
            "version": VERSION,
            "plural": self._plural,
            "namespace": namespace,
            "_preload_content": False,
            "_request_timeout": _TIMEOUT_S,
        }

    def _get(self, name: str, namespace: str) -> Document | None:
        doing = f"get the {self._plural[:-1]} {name}"
        try:
            with sentences(doing):
                return document(self._api.get_namespaced_custom_object(name=name, **self._where(namespace)), doing)
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _patch(self, name: str, patch: Document, namespace: str) -> Document:
        doing = f"change the {self._plural[:-1]} {name}"
        with sentences(doing):
            response = self._api.patch_namespaced_custom_object(
                name=name, body=patch, field_manager=FIELD_MANAGER, _content_type=_MERGE, **self._where(namespace)
            )
            return document(response, doing)


class RayServiceApi(_CustomResource):
    """List, get, create, apply, patch, delete and wait for RayServices."""

    def __init__(self, client: ApiClient) -> None:
        super().__init__(client, "rayservices")

    def list_ray_services(self, k8s_namespace: str = "default", label_selector: str = "") -> list[Document]:
        """The RayServices of a namespace. Raises Refused with status 404 where the cluster does not know the kind."""
        doing = "list rayservices"
        with sentences(doing):
            response = self._api.list_namespaced_custom_object(
                label_selector=label_selector, **self._where(k8s_namespace)
            )
            return list(document(response, doing)["items"])

    def get_ray_service(self, name: str, k8s_namespace: str = "default") -> Document | None:
        """A RayService, or None where there is none."""
        return self._get(name, k8s_namespace)

    def get_ray_service_status(self, name: str, k8s_namespace: str = "default") -> Document:
        """What the operator last said about it; empty where it said nothing yet, or there is no such RayService."""
        found = self._get(name, k8s_namespace) or {}
        return dict(found.get("status") or {})

    def wait_until_ray_service_running(
        self,
        name: str,
        k8s_namespace: str = "default",
        timeout: float = 60,
        delay_between_attempts: float = 5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Wait for the condition Ready; whether it came within `timeout` seconds."""
        while True:
            if condition(self.get_ray_service_status(name, k8s_namespace), "Ready"):
                return True
            if timeout <= 0:
                return False
            sleep(min(delay_between_attempts, timeout))
            timeout -= delay_between_attempts

    def create_ray_service(self, body: Document, k8s_namespace: str = "default") -> Document:
        """Create a RayService. Raises Refused with status 409 where it exists."""
        doing = "create the rayservice"
        with sentences(doing):
            response = self._api.create_namespaced_custom_object(body=body, **self._where(k8s_namespace))
            return document(response, doing)

    def apply_ray_service(self, body: Document, k8s_namespace: str = "default", dry_run: bool = False) -> Document:
        """Create it or make it what `body` says (server-side apply); with `dry_run`, only say what it would be."""
        name = body["metadata"]["name"]
        doing = f"apply the rayservice {name}"
        with sentences(doing):
            response = self._api.patch_namespaced_custom_object(
                name=name,
                body=body,
                field_manager=FIELD_MANAGER,
                force=True,
                dry_run="All" if dry_run else None,
                _content_type=_APPLY,
                **self._where(k8s_namespace),
            )
            return document(response, doing)

    def patch_ray_service(self, name: str, ray_patch: Document, k8s_namespace: str = "default") -> Document:
        """Merge `ray_patch` into it. With a metadata.resourceVersion in it: only if it is still that version (409)."""
        return self._patch(name, ray_patch, k8s_namespace)

    def delete_ray_service(self, name: str, k8s_namespace: str = "default") -> bool:
        """Ask for it to be deleted; False where there was none."""
        try:
            with sentences(f"delete the rayservice {name}"):
                self._api.delete_namespaced_custom_object(name=name, **self._where(k8s_namespace))
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True


class RayClusterApi(_CustomResource):
    """The running RayCluster that KubeRay makes of a RayService."""

    def __init__(self, client: ApiClient) -> None:
        super().__init__(client, "rayclusters")

    def get_ray_cluster(self, name: str, k8s_namespace: str = "default") -> Document | None:
        """A RayCluster, or None where there is none."""
        return self._get(name, k8s_namespace)

    def patch_ray_cluster(self, name: str, ray_patch: Document, k8s_namespace: str = "default") -> Document:
        """As `RayServiceApi.patch_ray_service`."""
        return self._patch(name, ray_patch, k8s_namespace)


def condition(status: Document, kind: str) -> bool:
    """Whether the status has the condition `kind`, and it is true."""
    return any(entry["type"] == kind and entry["status"] == "True" for entry in status.get("conditions") or ())


def cluster_name(service: Document) -> str:
    """The name of the RayCluster that runs for the RayService, or of the one that is coming up; else empty."""
    status = service.get("status") or {}
    for part in ("activeServiceStatus", "pendingServiceStatus"):
        name = (status.get(part) or {}).get("rayClusterName")
        if name:
            return str(name)
    return ""
