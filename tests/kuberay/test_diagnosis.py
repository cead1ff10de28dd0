"""Every sentence that says why the store can't come up."""

from __future__ import annotations

from typing import Any

import pytest

from kuberay.diagnosis import troubles
from kuberay.observation import Observation, part_of, pod_state

Document = dict[str, Any]


def pod(part: str = "bucket-1", *, status: Document | None = None, deleted: bool = False) -> Document:
    labels = {"ray.io/node-type": "worker", "ray.io/group": part}
    metadata: Document = {"name": f"pod-of-{part}", "labels": labels}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    return {"metadata": metadata, "spec": {}, "status": status or {}}


def waiting(reason: str, message: str = "", *, restarts: int = 0, init: bool = False) -> Document:
    container = {
        "name": "ray-worker",
        "image": "cloud-storage:2",
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": message}},
    }
    return {"phase": "Pending", "initContainerStatuses" if init else "containerStatuses": [container]}


def service(**status: Any) -> Document:
    worker_groups = [{"groupName": "bucket-1", "replicas": 1}]
    return {"metadata": {}, "spec": {"rayClusterConfig": {"workerGroupSpecs": worker_groups}}, "status": status}


def claim(phase: str = "Pending", storage_class: str | None = "fast") -> Document:
    return {
        "metadata": {"name": "cloud-storage-bucket-1"},
        "spec": {"storageClassName": storage_class} if storage_class else {},
        "status": {"phase": phase},
    }


def event(kind: str, name: str, reason: str, message: str, second: int = 0, **more: Any) -> Document:
    return {
        "metadata": {},
        "involvedObject": {"kind": kind, "name": name},
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-01-01T12:00:{second:02}Z",
        **more,
    }


def sentences(**seen: Any) -> list[tuple[str, bool]]:
    return [(trouble.sentence, trouble.heals) for trouble in troubles(Observation(**{"service": None, **seen}))]


@pytest.mark.parametrize("init", [False, True])
@pytest.mark.parametrize(
    ("reason", "message", "sentence"),
    [
        ("ErrImagePull", "not found", 'bucket-1: the image "cloud-storage:2" can\'t be pulled: not found'),
        ("ImagePullBackOff", "", 'bucket-1: the image "cloud-storage:2" can\'t be pulled: ImagePullBackOff'),
        ("ErrImageNeverPull", "x", 'bucket-1: the image "cloud-storage:2" is not on the node, and may not be pulled'),
        ("InvalidImageName", "x", 'bucket-1: the image "cloud-storage:2" is not a valid name'),
        (
            "CreateContainerConfigError",
            'secret "cloud-storage-redis" not found',
            'bucket-1: its container ray-worker can\'t be made: secret "cloud-storage-redis" not found',
        ),
        ("RunContainerError", "", "bucket-1: its container ray-worker can't be made: RunContainerError"),
    ],
)
def test_containers_that_can_not_start(init: bool, reason: str, message: str, sentence: str) -> None:
    assert sentences(pods=[pod(status=waiting(reason, message, init=init))]) == [(sentence, False)]


def test_a_secret_that_is_not_found_may_be_one_that_the_kubelet_has_not_heard_of() -> None:
    """It tries again only after some 10 to 20 s; seen where a store was deployed again just after it was deleted."""
    (trouble,) = troubles(Observation(None, pods=[pod(status=waiting("CreateContainerConfigError", "not found"))]))
    (other,) = troubles(Observation(None, pods=[pod(status=waiting("ErrImageNeverPull", "x"))]))
    assert trouble.grace_s >= 60 > other.grace_s


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", ""])
def test_containers_that_start_are_no_trouble(reason: str) -> None:
    assert sentences(pods=[pod(status=waiting(reason))]) == []


@pytest.mark.parametrize(("restarts", "heals"), [(1, True), (3, False)])
def test_a_container_that_ends_again_and_again_is_quoted(restarts: int, heals: bool) -> None:
    status = waiting("CrashLoopBackOff", "back-off 20s", restarts=restarts)
    found = sentences(pods=[pod(status=status)], last_lines={"pod-of-bucket-1": "ModuleNotFoundError: serve_app"})
    sentence = "bucket-1: its container ray-worker ends again and again; its last words: ModuleNotFoundError: serve_app"
    assert found == [(sentence, heals)]


def test_a_container_that_ended_without_a_word() -> None:
    status = waiting("CrashLoopBackOff", "back-off 20s", restarts=9)
    assert sentences(pods=[pod(status=status)])[0][0].endswith("its last words: back-off 20s")


def test_a_pod_that_fits_nowhere_is_quoted_and_may_heal() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/3 nodes are available: 3 Insufficient memory.",
    }
    found = sentences(pods=[pod(status={"phase": "Pending", "conditions": [condition]})])
    assert found == [("bucket-1 fits on no node: 0/3 nodes are available: 3 Insufficient memory.", True)]


def test_a_pod_that_is_ending_is_no_trouble() -> None:
    assert sentences(pods=[pod(status=waiting("ErrImagePull"), deleted=True)]) == []


def test_a_volume_that_can_not_be_mounted_may_heal() -> None:
    late = event("Pod", "pod-of-bucket-1", "FailedAttachVolume", "Multi-Attach error for volume", 5)
    early = event("Pod", "pod-of-bucket-1", "Scheduled", "assigned", 1)
    found = sentences(pods=[pod(status={"phase": "Pending"})], events=[late, early])
    assert found == [("bucket-1 waits for its volume: Multi-Attach error for volume", True)]
    over = event("Pod", "pod-of-bucket-1", "Pulled", "pulled", 9)
    assert sentences(pods=[pod(status={"phase": "Pending"})], events=[late, over]) == []


@pytest.mark.parametrize(
    ("storage_class", "reason", "message", "sentence"),
    [
        (
            "fast",
            "ProvisioningFailed",
            "quota exceeded",
            "the claim cloud-storage-bucket-1 gets no volume of the storage class fast: quota exceeded",
        ),
        (
            "fast",
            "ProvisioningFailed",
            'storageclass "fast" not found',
            'the claim cloud-storage-bucket-1 gets no volume of the storage class fast: storageclass "fast" not found '
            "(`kubectl get storageclass` lists those that there are; --storage-class names one)",
        ),
        (
            None,
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set",
            "the claim cloud-storage-bucket-1 gets no volume: no persistent volumes available for this claim and no storage "
            "class is set (`kubectl get storageclass` lists those that there are; --storage-class names one)",
        ),
    ],
)
def test_claims_without_a_volume(storage_class: str | None, reason: str, message: str, sentence: str) -> None:
    events = [event("PersistentVolumeClaim", "cloud-storage-bucket-1", reason, message)]
    assert sentences(claims=[claim(storage_class=storage_class)], events=events) == [(sentence, False)]
    assert sentences(claims=[claim("Bound")], events=events) == []


def test_a_claim_that_waits_for_its_pod_is_no_trouble() -> None:
    events = [
        event("PersistentVolumeClaim", "cloud-storage-bucket-1", "WaitForFirstConsumer", "waiting for first consumer")
    ]
    assert sentences(claims=[claim()], events=events) == []


def test_a_volume_that_is_gone() -> None:
    sentence = "the volume of the claim cloud-storage-bucket-1 is gone; its data can't be reached"
    assert sentences(claims=[claim("Lost")]) == [(sentence, False)]


REFUSED = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'


@pytest.mark.parametrize("reason", ["FailedToCreateHeadPod", "FailedToCreateWorkerPod"])
def test_pods_that_kuberay_may_not_make(reason: str) -> None:
    ray_cluster = {"metadata": {"name": "cloud-storage-abc"}, "spec": {}}
    events = [
        event("RayCluster", "cloud-storage-abc", reason, REFUSED),
        event("RayCluster", "other", "CreatedHeadPod", "", 9),
    ]
    found = sentences(service=service(), ray_cluster=ray_cluster, events=events)
    assert found == [(f"the cluster refuses the store's pods: {REFUSED}", False)]
    events.append(event("RayCluster", "cloud-storage-abc", "CreatedWorkerPod", "made", 10))
    assert sentences(service=service(), ray_cluster=ray_cluster, events=events) == [], "it went on since"


def test_pods_that_a_deployment_may_not_make() -> None:
    template = {"metadata": {"labels": {"app.kubernetes.io/component": "redis"}}}
    deployment = {"metadata": {"name": "cloud-storage-redis"}, "spec": {"replicas": 1, "template": template}}
    events = [event("ReplicaSet", "cloud-storage-redis-5d9", "FailedCreate", REFUSED)]
    found = sentences(deployments=[deployment], events=events)
    assert found == [(f"the cluster refuses the store's pods: {REFUSED}", False)]


def test_events_of_the_newer_kind_are_ordered_too() -> None:
    ray_cluster = {"metadata": {"name": "c"}, "spec": {}}
    newer = {"lastTimestamp": None, "eventTime": "2026-01-01T12:00:01.000000Z"}
    again = {**newer, "series": {"lastObservedTime": "2026-01-01T12:00:30.000000Z"}}
    created = event("RayCluster", "c", "CreatedWorkerPod", "", 20)
    failed = event("RayCluster", "c", "FailedToCreateWorkerPod", "no", 0, **newer)
    assert sentences(service=service(), ray_cluster=ray_cluster, events=[failed, created]) == []
    failed = event("RayCluster", "c", "FailedToCreateWorkerPod", "no", 0, **again)
    assert sentences(service=service(), ray_cluster=ray_cluster, events=[failed, created])


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("ValidationFailed", "KubeRay refuses the RayService: spec is wrong"),
        (
            "InitializingTimeout",
            "KubeRay has given up on the RayService: spec is wrong; delete it and deploy again",
        ),
    ],
)
def test_what_kuberay_says(reason: str, sentence: str) -> None:
    condition = {"type": "Ready", "status": "False", "reason": reason, "message": "spec is\n  wrong"}
    assert sentences(service=service(conditions=[condition])) == [(sentence, False)]


@pytest.mark.parametrize(
    ("status", "message", "sentence", "heals"),
    [
        (
            "DEPLOY_FAILED",
            "Traceback\n  File x\nValueError: data_dir is missing\n",
            "Serve can't deploy the application cloud-storage: ValueError: data_dir is missing",
            False,
        ),
        ("DEPLOY_FAILED", "", "Serve can't deploy the application cloud-storage: it does not say why", False),
        ("UNHEALTHY", "no replica", "Serve calls the application cloud-storage unhealthy: no replica", True),
    ],
)
@pytest.mark.parametrize("part", ["activeServiceStatus", "pendingServiceStatus"])
def test_what_serve_says(part: str, status: str, message: str, sentence: str, heals: bool) -> None:
    application = {"cloud-storage": {"status": status, "message": message}}
    assert sentences(service=service(**{part: {"applicationStatuses": application}})) == [(sentence, heals)]


def test_nothing_is_wrong_with_nothing() -> None:
    assert sentences() == []


def test_long_messages_are_cut() -> None:
    found = sentences(pods=[pod(status=waiting("ErrImagePull", "x" * 5000))])
    assert len(found[0][0]) < 500


@pytest.mark.parametrize(
    ("status", "deleted", "state"),
    [
        ({}, True, "ending"),
        ({"phase": "Pending"}, False, "not scheduled yet"),
        (waiting("ContainerCreating"), False, "starting"),
        (waiting("ErrImagePull"), False, "ErrImagePull"),
        ({"phase": "Running"}, False, "starting"),
        ({}, False, "not there yet"),
    ],
)
def test_a_pods_state_in_a_word(status: Document, deleted: bool, state: str) -> None:
    assert pod_state(pod(status=status, deleted=deleted)) == state


@pytest.mark.parametrize(
    ("labels", "part"),
    [
        (
            {"ray.io/node-type": "worker", "ray.io/group": "bucket-3", "app.kubernetes.io/component": "bucket"},
            "bucket-3",
        ),
        ({"ray.io/node-type": "head", "ray.io/group": "headgroup", "app.kubernetes.io/component": "head"}, "head"),
        ({"ray.io/node-type": "redis-cleanup", "app.kubernetes.io/component": "head"}, "redis-cleanup"),
        ({"app.kubernetes.io/component": "redis"}, "redis"),
        ({}, "other"),
    ],
)
def test_what_a_pod_is_to_the_store(labels: dict[str, str], part: str) -> None:
    assert part_of({"metadata": {"labels": labels}}) == part
