"""Why the store can't come up, in sentences, from what Kubernetes and KubeRay show. Pure: it asks nobody."""

from __future__ import annotations

from collections.abc import Iterator

from kuberay.api.rayservice import Document
from kuberay.observation import (
    Observation,
    applications_of,
    claim_is_bound,
    container_statuses,
    part_of,
    waiting_reason,
)
from kuberay.waiting import Trouble

_IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable"}
)
_CONFIGURATION_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_MOUNT_REASONS = frozenset({"FailedMount", "FailedAttachVolume"})
_POD_REFUSED_REASONS = frozenset({"FailedCreate", "FailedToCreateHeadPod", "FailedToCreateWorkerPod"})
_CLAIM_REASONS = frozenset({"ProvisioningFailed", "FailedBinding"})
#: The kubelet tries such a container again after some 10 to 20 s, and may not have heard yet of a secret that was deleted and
#: made again just before.
_CONFIGURATION_GRACE_S = 60.0
#: A container that waits for another one may end a few times before that is there.
_CRASHES_THAT_HEAL = 3
_SHOWN_CHARACTERS = 400


def troubles(seen: Observation) -> tuple[Trouble, ...]:
    """Everything that is in the way, the cause before its consequences."""
    return (
        *_of_service(seen),
        *_of_claims(seen),
        *_of_refused_pods(seen),
        *(trouble for pod in seen.pods for trouble in _of_pod(seen, pod)),
        *_of_serve(seen),
    )


def _of_service(seen: Observation) -> Iterator[Trouble]:
    status = (seen.service or {}).get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] != "Ready" or condition["status"] == "True":
            continue
        message = _short(condition.get("message", ""))
        if condition.get("reason") == "ValidationFailed":
            yield Trouble("RayService", f"KubeRay refuses the RayService: {message}")
        elif condition.get("reason") == "InitializingTimeout":
            yield Trouble(
                "RayService", f"KubeRay has given up on the RayService: {message}; delete it and deploy again"
            )


def _of_claims(seen: Observation) -> Iterator[Trouble]:
    for claim in seen.claims:
        name = claim["metadata"]["name"]
        phase = (claim.get("status") or {}).get("phase")
        if claim_is_bound(claim):
            continue
        if phase == "Lost":
            yield Trouble(f"claim {name}", f"the volume of the claim {name} is gone; its data can't be reached")
            continue
        last = _last_event(seen, "PersistentVolumeClaim", name)
        if last and last["reason"] in _CLAIM_REASONS:
            storage_class = claim["spec"].get("storageClassName")
            of_class = f" of the storage class {storage_class}" if storage_class else ""
            yield Trouble(
                f"claim {name}",
                f"the claim {name} gets no volume{of_class}: {_short(last['message'])}{_classes_hint(last)}",
            )


def _classes_hint(event: Document) -> str:
    if "no storage class is set" in event["message"] or "not found" in event["message"]:
        return " (`kubectl get storageclass` lists those that there are; --storage-class names one)"
    return ""


def _of_refused_pods(seen: Observation) -> Iterator[Trouble]:
    """Pods that nobody may even make: pod security, quotas, admission webhooks."""
    if seen.ready_pods >= seen.expected_pods:
        return
    makers = [("ReplicaSet", f"{deployment['metadata']['name']}-") for deployment in seen.deployments]
    if seen.ray_cluster is not None:
        makers.insert(0, ("RayCluster", seen.ray_cluster["metadata"]["name"]))
    for kind, name_start in makers:
        last = _last_event(seen, kind, name_start)
        if last and last["reason"] in _POD_REFUSED_REASONS:
            yield Trouble(f"pods of {name_start}", f"the cluster refuses the store's pods: {_short(last['message'])}")


def _of_pod(seen: Observation, pod: Document) -> Iterator[Trouble]:
    name, part = pod["metadata"]["name"], part_of(pod)
    if pod["metadata"].get("deletionTimestamp"):
        return
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False" and condition.get("message"):
            sentence = f"{part} fits on no node: {_short(condition['message'])}"
            yield Trouble(f"pod {name}", sentence, heals=True)  # a cluster autoscaler may add one
    for container in container_statuses(pod):
        yield from _of_container(seen, pod, container)
    last = _last_event(seen, "Pod", name)
    if last and last["reason"] in _MOUNT_REASONS and status.get("phase") == "Pending":
        yield Trouble(f"pod {name}", f"{part} waits for its volume: {_short(last['message'])}", heals=True)


def _of_container(seen: Observation, pod: Document, container: Document) -> Iterator[Trouble]:
    name, part = pod["metadata"]["name"], part_of(pod)
    reason = waiting_reason(container)
    message = _short(((container.get("state") or {}).get("waiting") or {}).get("message", ""))
    image = f'"{container.get("image", "")}"'
    if reason in ("ErrImageNeverPull", "InvalidImageName"):
        why = "is not a valid name" if reason == "InvalidImageName" else "is not on the node, and may not be pulled"
        yield Trouble(f"pod {name}", f"{part}: the image {image} {why}")
    elif reason in _IMAGE_REASONS:
        yield Trouble(f"pod {name}", f"{part}: the image {image} can't be pulled: {message or reason}")
    elif reason in _CONFIGURATION_REASONS:
        sentence = f"{part}: its container {container['name']} can't be made: {message or reason}"
        yield Trouble(f"pod {name}", sentence, grace_s=_CONFIGURATION_GRACE_S)
    elif reason == "CrashLoopBackOff":
        said = _short(seen.last_lines.get(name, "")) or message
        sentence = f"{part}: its container {container['name']} ends again and again; its last words: {said}"
        yield Trouble(f"pod {name}", sentence, heals=container.get("restartCount", 0) < _CRASHES_THAT_HEAL)


def _of_serve(seen: Observation) -> Iterator[Trouble]:
    for name, application in applications_of(seen.service).items():
        said = _last_line(application.get("message", ""))
        if application.get("status") == "DEPLOY_FAILED":
            yield Trouble(f"application {name}", f"Serve can't deploy the application {name}: {said}")
        elif application.get("status") == "UNHEALTHY":
            yield Trouble(f"application {name}", f"Serve calls the application {name} unhealthy: {said}", heals=True)


def _last_event(seen: Observation, kind: str, name_start: str) -> Document | None:
    """The latest event about an object. Only the latest counts: what others tell of may have passed."""
    about = [
        event
        for event in seen.events
        if event["involvedObject"].get("kind") == kind
        and event["involvedObject"].get("name", "").startswith(name_start)
    ]
    return max(about, key=_time, default=None)


def _time(event: Document) -> str:
    """When an event last happened. ISO times in UTC sort as text."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def _last_line(text: str) -> str:
    """The last line that says something: of a traceback, the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _short(lines[-1]) if lines else "it does not say why"


def _short(text: str) -> str:
    flat = " ".join(str(text).split())
    return flat if len(flat) <= _SHOWN_CHARACTERS else f"{flat[:_SHOWN_CHARACTERS]}…"
