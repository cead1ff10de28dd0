"""Pure functions on the documents that make up a store: its worker groups, its number of buckets, its images.

They keep whatever a user has changed: a new bucket's group is a copy of the last one with the names exchanged, and the
Serve configuration keeps its comments.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import yaml

from kuberay.api.rayservice import Document
from serve_app.command_output.failure import Failure

DIRECTORY = "directory"
_BUCKET_GROUP = re.compile(r"bucket-(\d+)")
_BUCKET_COUNT_LINE = re.compile(r"^(\s*['\"]?bucket_count['\"]?\s*:\s*)\d+", re.MULTILINE)

#: What arguments are written below.
_DATA_DIR_LINE = re.compile(r"^( *)data_dir:[^\n]*\n", re.MULTILINE)


# -- reading ---------------------------------------------------------------------------------------------------------


def cluster_spec(document: Document) -> Document:
    """The part that a RayService and a RayCluster have in common."""
    spec: Document = document["spec"]
    found: Document = spec.get("rayClusterConfig", spec)
    return found


def worker_groups(document: Document) -> list[Document]:
    """The worker groups of a RayService or a RayCluster."""
    return list(cluster_spec(document).get("workerGroupSpecs") or ())


def bucket_groups(document: Document) -> dict[int, Document]:
    """The buckets' worker groups by bucket id."""
    found = {}
    for group in worker_groups(document):
        match = _BUCKET_GROUP.fullmatch(group["groupName"])
        if match:
            found[int(match[1])] = group
    return found


def replicas(document: Document) -> dict[str, int]:
    """How many pods each worker group asks for."""
    return {group["groupName"]: int(group.get("replicas") or 0) for group in worker_groups(document)}


def has_directory_group(document: Document) -> bool:
    """Whether directories have pods of their own; in the small variant they run on the head."""
    return DIRECTORY in replicas(document)


def bucket_count(service: Document) -> int:
    """The number of buckets that the RayService configures."""
    return int(_deployment(service)["user_config"]["bucket_count"])


def directories(service: Document) -> int:
    """The number of directories that the RayService configures."""
    return int(_deployment(service).get("num_replicas", 1))


def tokens_file(service: Document) -> str:
    """The tokens file that the RayService configures; empty where everybody may use the store."""
    return str(_argument(service, "auth", "tokens_file") or "")


def redis_port(service: Document) -> int:
    """The port on which the RayService has directories speak the Redis protocol; 0 for none."""
    return int(_argument(service, "redis", "port") or 0)


def image(service: Document) -> str:
    """The image that the store runs: the head's."""
    containers = cluster_spec(service)["headGroupSpec"]["template"]["spec"]["containers"]
    return str(containers[0]["image"])


def claim_name(group: Document) -> str:
    """The claim that a bucket's group keeps its records on."""
    for volume in group["template"]["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume and volume["name"] == "data":
            return str(volume["persistentVolumeClaim"]["claimName"])
    raise Failure(f"the worker group {group['groupName']} of the RayService has no volume `data` on a claim")


def _deployment(service: Document) -> Document:
    """The directory's deployment in the Serve configuration."""
    try:
        configuration = _configuration(service)
        deployment: Document = configuration["applications"][0]["deployments"][0]
        int(deployment["user_config"]["bucket_count"])
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError):
        raise Failure(
            "the RayService's serveConfigV2 has no applications[0].deployments[0].user_config.bucket_count"
        ) from None
    return deployment


def _configuration(service: Document) -> Any:
    return yaml.safe_load(service["spec"]["serveConfigV2"])


# -- changing: each returns a changed copy ---------------------------------------------------------------------------


def with_bucket_count(service: Document, count: int) -> Document:
    """The RayService with another bucket_count in its Serve configuration."""
    _deployment(service)
    changed = copy.deepcopy(service)
    text = service["spec"]["serveConfigV2"]
    # In the text, so that comments and order stay; as data where it is written in some other way.
    changed["spec"]["serveConfigV2"] = _BUCKET_COUNT_LINE.sub(rf"\g<1>{count}", text)
    if bucket_count(changed) != count:
        configuration = yaml.safe_load(text)
        configuration["applications"][0]["deployments"][0]["user_config"]["bucket_count"] = count
        changed["spec"]["serveConfigV2"] = yaml.safe_dump(configuration, sort_keys=False)
    return changed


def with_tokens_file(service: Document, path: str) -> Document:
    """The RayService with that tokens file in its Serve configuration; with none where the path is empty."""
    return service if tokens_file(service) == path else _with_argument(service, "auth", "tokens_file", path)


def with_redis_port(service: Document, port: int) -> Document:
    """The RayService with that port for the Redis protocol in its Serve configuration; with none where it is 0."""
    return service if redis_port(service) == port else _with_argument(service, "redis", "port", port)


def _with_argument(service: Document, name: str, field: str, value: str | int) -> Document:
    """The RayService with `args.name: { field: value }`, below where the data is; without `name` where there is no value."""
    changed = copy.deepcopy(service)
    text = re.sub(rf"^ *{name}: \{{ {field}: [^\n]*\n", "", service["spec"]["serveConfigV2"], flags=re.MULTILINE)
    if value:
        text = _DATA_DIR_LINE.sub(rf"\g<0>\g<1>{name}: {{ {field}: {value} }}\n", text, count=1)
    changed["spec"]["serveConfigV2"] = text
    if _argument(changed, name, field) != (value or None):  # it is written in some other way
        configuration = _configuration(service)
        arguments = configuration["applications"][0].setdefault("args", {})
        arguments.pop(name, None)
        if value:
            arguments[name] = {field: value}
        changed["spec"]["serveConfigV2"] = yaml.safe_dump(configuration, sort_keys=False)
    return changed


def _argument(service: Document, name: str, field: str) -> Any:
    """A field of one of the application's `args`; None where it is not there."""
    _deployment(service)
    arguments = _configuration(service)["applications"][0].get("args") or {}
    return (arguments.get(name) or {}).get(field) or None


def with_bucket_groups(service: Document, count: int) -> Document:
    """The RayService with a running group for each of `count` buckets: those there are, and new ones at the end."""
    changed = copy.deepcopy(service)
    existing = bucket_groups(changed)
    if not existing:
        raise Failure("the RayService has no worker group bucket-0 to make others like")
    last = max(existing)
    for bucket_id in range(count):
        if bucket_id not in existing:
            existing[bucket_id] = renamed(existing[last], last, bucket_id)
            cluster_spec(changed)["workerGroupSpecs"].append(existing[bucket_id])
        group = existing[bucket_id]
        group["replicas"] = 1
        group["maxReplicas"] = max(1, int(group.get("maxReplicas") or 1))
    return changed


def with_lowered_groups(document: Document, count: int) -> Document:
    """The RayService or RayCluster with no pods for the buckets from `count` on. Their groups stay: KubeRay would leave
    the pods of a group that is gone where they are."""
    changed = copy.deepcopy(document)
    for bucket_id, group in bucket_groups(changed).items():
        if bucket_id >= count:
            group["replicas"] = group["minReplicas"] = 0
    return changed


def with_replicas_of(document: Document, other: Document) -> Document:
    """The document with as many pods in each worker group as `other` asks for."""
    changed = copy.deepcopy(document)
    theirs = {group["groupName"]: group for group in worker_groups(other)}
    for group in worker_groups(changed):
        if group["groupName"] in theirs:
            for field in ("replicas", "minReplicas", "maxReplicas"):
                if field in theirs[group["groupName"]]:
                    group[field] = theirs[group["groupName"]][field]
    return changed


def with_groups_kept(service: Document, live: Document) -> Document:
    """The RayService with the groups that `live` has beyond it, as they are there."""
    changed = copy.deepcopy(service)
    names = set(replicas(changed))
    cluster_spec(changed)["workerGroupSpecs"] = worker_groups(changed) + [
        copy.deepcopy(group) for group in worker_groups(live) if group["groupName"] not in names
    ]
    return changed


def with_image(document: Any, old: str, new: str) -> Any:
    """The document with one image in place of another, in all its containers and init containers."""
    if isinstance(document, list):
        return [with_image(entry, old, new) for entry in document]
    if not isinstance(document, dict):
        return document
    changed = {key: with_image(value, old, new) for key, value in document.items()}
    for kind in ("containers", "initContainers"):
        for container in changed.get(kind) or ():
            if isinstance(container, dict) and container.get("image") == old:
                container["image"] = new
    return changed


def renamed(document: Any, old_id: int, new_id: int) -> Any:
    """A copy made for another bucket: every `bucket-<old>` in it becomes `bucket-<new>`."""
    if isinstance(document, dict):
        return {renamed(key, old_id, new_id): renamed(value, old_id, new_id) for key, value in document.items()}
    if isinstance(document, list):
        return [renamed(entry, old_id, new_id) for entry in document]
    if isinstance(document, str):
        return re.sub(rf"(?<![A-Za-z0-9])bucket-{old_id}(?![0-9])", f"bucket-{new_id}", document)
    return document


def claim_like(claim: Document, old_id: int, new_id: int) -> Document:
    """The claim of a new bucket, like that of an old one."""
    spec = {
        name: value
        for name, value in claim["spec"].items()
        if name not in ("volumeName", "dataSource", "dataSourceRef")
    }
    metadata = {
        "name": renamed(claim["metadata"]["name"], old_id, new_id),
        "namespace": claim["metadata"]["namespace"],
        "labels": renamed(claim["metadata"].get("labels") or {}, old_id, new_id),
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": copy.deepcopy(spec),
    }


def budget(count: int) -> Document:
    """The patch that lets a disruption take one of `count` buckets."""
    return {"spec": {"minAvailable": max(0, count - 1)}}


def to_apply(document: Document) -> Document:
    """The document without what the cluster added to it."""
    kept = {name: value for name, value in document.items() if name != "status"}
    metadata = {name: value for name, value in document["metadata"].items() if name in ("name", "namespace", "labels")}
    return {**kept, "metadata": metadata}
