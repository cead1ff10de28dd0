"""What a store was deployed with, read from the cluster: so that `deploy` changes only what it is asked to change."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from kuberay import groups
from kuberay.api.cluster import Cluster
from kuberay.api.rayservice import Document
from kuberay.manifests import NAME, Options

VARIANT_ANNOTATION = "cloud-storage/variant"
_BUCKET_CLAIM = re.compile(rf"{NAME}-bucket-\d+")


def live_options(cluster: Cluster, service: Document | None) -> dict[str, Any]:
    """The options that are settled already, by the running RayService and by claims that an earlier store left."""
    return {**_of_claims(cluster), **(_of_service(cluster, service) if service else {})}


def options(namespace: str, live: dict[str, Any], asked: dict[str, Any]) -> Options:
    """What is asked for, else what is there, else the defaults."""
    chosen = {**live, **{name: value for name, value in asked.items() if value is not None}}
    if chosen.get("service_type") != "NodePort" and asked.get("node_port") is None:
        chosen.pop("node_port", None)  # it was another type's
    return dataclasses.replace(Options(), namespace=namespace, **chosen)


def _of_service(cluster: Cluster, service: Document) -> dict[str, Any]:
    found: dict[str, Any] = {
        "image": groups.image(service),
        "buckets": groups.bucket_count(service),
        "directories": groups.directories(service),
        "variant": _variant(service),
        "redis": bool(groups.redis_port(service)),
    }
    serve_service = service["spec"].get("serveService", {}).get("spec", {})
    if "type" in serve_service:
        found["service_type"] = serve_service["type"]
    for port in serve_service.get("ports") or ():
        if port.get("nodePort"):
            found["node_port"] = port["nodePort"]
    redis = cluster.get("Deployment", f"{NAME}-redis")
    for container in redis["spec"]["template"]["spec"]["containers"] if redis else ():
        if container["name"] == "redis":
            found["redis_image"] = container["image"]
    return found


def _variant(service: Document) -> str:
    annotated = (service["metadata"].get("annotations") or {}).get(VARIANT_ANNOTATION)
    return str(annotated or ("default" if groups.has_directory_group(service) else "small"))


def _of_claims(cluster: Cluster) -> dict[str, Any]:
    claims = [
        claim
        for claim in cluster.list_all("PersistentVolumeClaim", f"app.kubernetes.io/name={NAME}")
        if _BUCKET_CLAIM.fullmatch(claim["metadata"]["name"])
    ]
    if not claims:
        return {}
    spec = claims[0]["spec"]
    found: dict[str, Any] = {
        "buckets": len(claims),
        "storage": spec["resources"]["requests"]["storage"],
        "access_mode": spec["accessModes"][0],
    }
    if spec.get("storageClassName"):
        found["storage_class"] = spec["storageClassName"]
    return found
