"""The store's objects for Kubernetes, as options ask for them.

There is one source: base/rayservice.yaml, which people read and apply by hand, and the overlays' patches. What the commands
apply is that, with names, sizes and numbers exchanged; so it can't differ from the files.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

from kuberay import groups
from serve_app.command_output.failure import Failure
from serve_app.topology import MAX_BUCKET_COUNT

Document = dict[str, Any]

#: The name of the RayService, and the beginning of every other name.
NAME = "cloud-storage"
FOLDER = Path(__file__).parent
VARIANTS = ("default", "small", "recommended")
SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer")
ACCESS_MODES = ("ReadWriteOncePod", "ReadWriteOnce")
#: Where directories find the tokens: the mount of base/rayservice.yaml, and the key of the secret.
TOKENS_FILE = "/etc/cloud-storage/tokens"
#: Where directories listen for the Redis protocol. Not where Ray's head does, on whose pod the small variant has one.
REDIS_API_PORT = 6380
MAX_DIRECTORIES = 64
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
#: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity
_QUANTITY = re.compile(r"[1-9][0-9]*(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
_NODE_PORTS = range(30000, 32768)


@dataclass(frozen=True)
class Options:
    """What can be chosen. None: as the variant has it.

    storage: the size of each bucket's claim, as a Kubernetes quantity.
    node_port: for service_type NodePort, 30000 to 32767; None lets Kubernetes choose.
    tokens: whether the API asks for them (kuberay/tokens.py).
    redis: whether directories speak the Redis protocol too (docs/redis.md); only where they ask for tokens.
    """

    namespace: str = "cloud-storage"
    image: str = "cloud-storage:0.1.0"
    redis_image: str = "redis:7.4"
    buckets: int = 2
    directories: int | None = None
    storage: str | None = None
    storage_class: str | None = None
    access_mode: str | None = None
    service_type: str = "ClusterIP"
    node_port: int | None = None
    variant: str = "default"
    tokens: bool = False
    redis: bool = False


def render(options: Options) -> list[Document]:
    """Every object, in the order in which to apply them.

    Raises:
        Failure: an option is wrong; it says which and what would be right.
    """
    _check(options)
    objects = _variant(options.variant)
    _set_images(objects, options)
    _set_claims(objects, options)
    for index, document in enumerate(objects):
        if document["kind"] == "RayService":
            objects[index] = _rayservice(document, options)
        elif document["kind"] == "PodDisruptionBudget" and document["metadata"]["name"].endswith("-buckets"):
            document["spec"].update(groups.budget(options.buckets)["spec"])
    _set_namespace(objects, options.namespace)
    return objects


def to_yaml(objects: list[Document]) -> str:
    """The objects as one YAML stream, to read or to apply."""
    return "---\n".join(yaml.dump(each, sort_keys=False, Dumper=_PlainDumper, width=120) for each in objects)


class _PlainDumper(yaml.SafeDumper):
    """Writes shared parts out each time, and texts of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_PlainDumper.add_representer(str, _text)


def _check(options: Options) -> None:
    if not _DNS_LABEL.fullmatch(options.namespace):
        raise Failure(f"{options.namespace!r} can't be a namespace's name: lower-case letters, digits and '-'")
    if not 1 <= options.buckets <= MAX_BUCKET_COUNT:
        raise Failure(f"the number of buckets is 1 to {MAX_BUCKET_COUNT}, not {options.buckets}")
    _one_of("variant", options.variant, VARIANTS)
    _one_of("service type", options.service_type, SERVICE_TYPES)
    if options.access_mode is not None:
        _one_of("access mode", options.access_mode, ACCESS_MODES)
    if options.directories is not None:
        if not 1 <= options.directories <= MAX_DIRECTORIES:
            raise Failure(f"the number of directories is 1 to {MAX_DIRECTORIES}, not {options.directories}")
        if options.variant == "small" and options.directories != 1:
            raise Failure("the small variant has one directory, on Ray's head; leave --directories out")
    if options.storage is not None and not _QUANTITY.fullmatch(options.storage):
        raise Failure(f"{options.storage!r} is no size of a volume; write for example 20Gi")
    if options.node_port is not None:
        if options.service_type != "NodePort":
            raise Failure(f"a node port goes with the service type NodePort, not {options.service_type}")
        if options.node_port not in _NODE_PORTS:
            raise Failure(f"a node port is {_NODE_PORTS[0]} to {_NODE_PORTS[-1]}, not {options.node_port}")
    if options.redis and not options.tokens:
        raise Failure(
            "the Redis protocol is spoken in a cluster only where tokens are asked for: make one first (python -m kuberay "
            "token create NAME --scope read,write), or type --no-redis"
        )
    for image in (options.image, options.redis_image):
        if not image or image != image.strip() or " " in image:
            raise Failure(f"{image!r} is no image's name")


def _one_of(what: str, value: str, values: tuple[str, ...]) -> None:
    if value not in values:
        raise Failure(f"the {what} is one of {', '.join(values)}, not {value!r}")


def _variant(name: str) -> list[Document]:
    objects: list[Document] = json.loads(_base())
    if name != "default":
        overlay = yaml.safe_load((FOLDER / "overlays" / name / "kustomization.yaml").read_text())
        for each in overlay["patches"]:
            objects = _patched(objects, each["target"], yaml.safe_load(each["patch"]))
    return objects


@cache
def _base() -> str:
    """The base's objects as JSON: anchors make one object of what is written once, and here each becomes its own."""
    return json.dumps(list(yaml.safe_load_all((FOLDER / "base" / "rayservice.yaml").read_text())))


def _patched(objects: list[Document], target: Document, patch: Any) -> list[Document]:
    """What kustomize does with a patch: RFC 6902, or a deletion."""

    def meant(document: Document) -> bool:
        return document["kind"] == target["kind"] and bool(re.fullmatch(target["name"], document["metadata"]["name"]))

    assert any(map(meant, objects)), f"an overlay's patch has no target: {target}"
    if isinstance(patch, dict):
        assert patch["$patch"] == "delete"
        return [document for document in objects if not meant(document)]
    return [jsonpatch.apply_patch(document, patch) if meant(document) else document for document in objects]


def _set_images(objects: list[Document], options: Options) -> None:
    defaults = Options()
    for index, document in enumerate(objects):
        document = groups.with_image(document, defaults.image, options.image)
        objects[index] = groups.with_image(document, defaults.redis_image, options.redis_image)


def _set_claims(objects: list[Document], options: Options) -> None:
    claims = [document for document in objects if document["kind"] == "PersistentVolumeClaim"]
    for claim in claims:
        if options.access_mode is not None:
            claim["spec"]["accessModes"] = [options.access_mode]
        if options.storage_class is not None:
            claim["spec"]["storageClassName"] = options.storage_class
    of_buckets = [claim for claim in claims if claim["metadata"]["labels"]["app.kubernetes.io/component"] == "bucket"]
    if options.storage is not None:
        for claim in of_buckets:
            claim["spec"]["resources"]["requests"]["storage"] = options.storage
    place = objects.index(of_buckets[0])
    objects[place : place + len(of_buckets)] = [
        of_buckets[0] if bucket_id == 0 else _in_order(groups.claim_like(of_buckets[0], 0, bucket_id), of_buckets[0])
        for bucket_id in range(options.buckets)
    ]


def _in_order(document: Document, like: Document) -> Document:
    return {name: document[name] for name in like}


def _rayservice(document: Document, options: Options) -> Document:
    service = document["spec"]["serveService"]["spec"]
    service["type"] = options.service_type
    if options.node_port is not None:
        service["ports"][0]["nodePort"] = options.node_port
    cluster = groups.cluster_spec(document)
    last = options.buckets - 1
    cluster["workerGroupSpecs"] = [
        group
        for group in cluster["workerGroupSpecs"]
        if group["groupName"] == groups.DIRECTORY or int(group["groupName"].removeprefix("bucket-")) <= last
    ]
    if options.directories is not None and options.variant != "small":
        group = cluster["workerGroupSpecs"][0]
        assert group["groupName"] == groups.DIRECTORY
        group["replicas"] = group["maxReplicas"] = options.directories
        document["spec"]["serveConfigV2"] = re.sub(
            r"num_replicas: \d+", f"num_replicas: {options.directories}", document["spec"]["serveConfigV2"]
        )
    document = groups.with_tokens_file(document, TOKENS_FILE if options.tokens else "")
    document = groups.with_redis_port(document, REDIS_API_PORT if options.redis else 0)
    return groups.with_bucket_count(groups.with_bucket_groups(document, options.buckets), options.buckets)


def _set_namespace(objects: list[Document], namespace: str) -> None:
    for document in objects:
        if document["kind"] == "Namespace":
            document["metadata"]["name"] = namespace
        else:
            document["metadata"]["namespace"] = namespace
        for subject in copy.copy(document.get("subjects", [])):
            subject["namespace"] = namespace
