"""What every command works with: one namespace of one cluster, the terminal and the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from kubernetes.client import ApiClient

from kuberay.api.cluster import Cluster
from kuberay.api.connect import connect
from kuberay.api.errors import Refused
from kuberay.api.rayservice import Document, RayClusterApi, RayServiceApi, cluster_name
from kuberay.clock import Clock
from kuberay.manifests import NAME
from kuberay.store import Store
from serve_app.command_output.failure import Failure
from serve_app.command_output.terminal import Terminal

#: How often a change is made again because somebody else changed the object in between.
_ATTEMPTS = 5
_NO_KUBERAY = (
    "KubeRay is not installed: the cluster does not know RayServices. Install its operator:\n"
    "  helm repo add kuberay https://ray-project.github.io/kuberay-helm/\n"
    "  helm install kuberay-operator kuberay/kuberay-operator --version 1.7.0"
)


@dataclass(frozen=True)
class Session:
    """The clients for `namespace`."""

    client: ApiClient
    namespace: str
    terminal: Terminal = field(default_factory=Terminal)
    clock: Clock = field(default_factory=Clock)

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.client, self.namespace)

    @property
    def services(self) -> RayServiceApi:
        return RayServiceApi(self.client)

    @property
    def ray_clusters(self) -> RayClusterApi:
        return RayClusterApi(self.client)

    @property
    def store(self) -> Store:
        return Store(self.cluster)

    def check_kuberay(self) -> None:
        """Raises Failure where the API server is away or does not know RayServices."""
        try:
            self.services.list_ray_services(self.namespace)
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                raise Failure(_NO_KUBERAY) from None
            raise

    def service(self) -> Document | None:
        """The RayService, or None where the store is not deployed here."""
        return self.services.get_ray_service(NAME, self.namespace)

    def deployed(self) -> Document:
        """The RayService. Raises Failure where the store is not deployed here."""
        self.check_kuberay()
        service = self.service()
        if service is None:
            raise Failure(
                f"there is no store in the namespace {self.namespace}: start one with `python -m kuberay deploy`, "
                "or name its --namespace"
            )
        return service

    def ray_cluster(self, service: Document) -> Document | None:
        """The RayCluster that runs for the RayService, or None while there is none."""
        name = cluster_name(service)
        return self.ray_clusters.get_ray_cluster(name, self.namespace) if name else None

    def change_service(self, patch_for: Callable[[Document], Document]) -> Document:
        """Merge a patch, made from the RayService as it is now, into that very version of it."""
        return _unless_changed_meanwhile(
            self.deployed,
            patch_for,
            lambda patch: self.services.patch_ray_service(NAME, patch, self.namespace),
        )

    def change_ray_cluster(self, name: str, patch_for: Callable[[Document], Document]) -> Document:
        """As `change_service`, for the RayCluster that runs."""

        def read() -> Document:
            found = self.ray_clusters.get_ray_cluster(name, self.namespace)
            if found is None:
                raise Failure(f"the raycluster {name} is gone: somebody else is at work on this store")
            return found

        return _unless_changed_meanwhile(
            read, patch_for, lambda patch: self.ray_clusters.patch_ray_cluster(name, patch, self.namespace)
        )


def _unless_changed_meanwhile(
    read: Callable[[], Document],
    patch_for: Callable[[Document], Document],
    write: Callable[[Document], Document],
) -> Document:
    """Read, decide and write, again where the API server says that the object has changed in between.

    Lists are replaced as a whole by a merge patch, so one made from an old version would undo what came after it.
    """
    for attempt in range(_ATTEMPTS):
        found = read()
        patch = patch_for(found)
        metadata = {**patch.get("metadata", {}), "resourceVersion": found["metadata"]["resourceVersion"]}
        try:
            return write({**patch, "metadata": metadata})
        except Refused as refused:
            if refused.status != HTTPStatus.CONFLICT or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def open_session(namespace: str, context: str | None) -> Session:
    """Connect. Raises Failure where there is nothing to connect to."""
    return Session(connect(context), namespace)
