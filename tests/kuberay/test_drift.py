"""Drift: what KubeRay would ignore is named with its path; what it does not look at is no difference."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kuberay import groups
from kuberay.drift import described, differences
from kuberay.manifests import Options, render

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    return next(document for document in render(Options(buckets=2)) if document["kind"] == "RayService")


def running(service: dict[str, Any]) -> dict[str, Any]:
    return {"spec": copy.deepcopy(service["spec"]["rayClusterConfig"])}


def changed(service: dict[str, Any], change: Change) -> dict[str, Any]:
    copied = copy.deepcopy(service)
    change(copied["spec"]["rayClusterConfig"])
    return copied


def container(spec: dict[str, Any], group: int = 1) -> Any:
    return spec["workerGroupSpecs"][group]["template"]["spec"]["containers"][0]


def set_to(path: Callable[[dict[str, Any]], Any], name: str, value: Any) -> Change:
    return lambda spec: path(spec).__setitem__(name, value)


def pod(spec: dict[str, Any]) -> Any:
    return spec["workerGroupSpecs"][1]["template"]["spec"]


def whole(spec: dict[str, Any]) -> Any:
    return spec


def test_what_runs_is_no_difference(service: dict[str, Any]) -> None:
    assert differences(service, running(service)) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            set_to(container, "image", "b:1"),
            'workerGroupSpecs[1].template.spec.containers[0].image: "b:1" in the RayService, "cloud-storage:0.1.0" running',
        ),
        (
            lambda spec: spec["headGroupSpec"]["template"]["spec"]["containers"][0].update(image="b:1"),
            'headGroupSpec.template.spec.containers[0].image: "b:1" in the RayService, "cloud-storage:0.1.0" running',
        ),
        (set_to(whole, "rayVersion", "3.0"), 'rayVersion: "3.0" in the RayService, "2.60.0" running'),
        (
            set_to(pod, "nodeSelector", {"disk": "fast"}),
            'workerGroupSpecs[1].template.spec.nodeSelector: {"disk": "fast"} in the RayService, nothing running',
        ),
        (
            lambda spec: container(spec)["resources"]["limits"].update(memory="7Gi"),
            'workerGroupSpecs[1].template.spec.containers[0].resources.limits.memory: "7Gi" in the RayService, "3Gi" running',
        ),
        (
            set_to(container, "args", ["a"]),
            'workerGroupSpecs[1].template.spec.containers[0].args: ["a"] in the RayService, nothing running',
        ),
        (
            lambda spec: container(spec)["volumeMounts"].append({"name": "a"}),
            'workerGroupSpecs[1].template.spec.containers[0].volumeMounts[1]: {"name": "a"} in the RayService, '
            "nothing running",
        ),
        (
            lambda spec: container(spec)["securityContext"].pop("allowPrivilegeEscalation"),
            "workerGroupSpecs[1].template.spec.containers[0].securityContext.allowPrivilegeEscalation: nothing in the "
            "RayService, false running",
        ),
        (lambda spec: spec["workerGroupSpecs"].pop(), 'workerGroupSpecs[2]: not in the RayService, "bucket-1" running'),
        (
            lambda spec: spec["workerGroupSpecs"][2].update(groupName="other"),
            'workerGroupSpecs[2].groupName: "other" in the RayService, "bucket-1" running',
        ),
    ],
)
def test_each_difference_is_named(service: dict[str, Any], change: Change, sentence: str) -> None:
    assert differences(changed(service, change), running(service)) == [sentence]


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["workerGroupSpecs"][1].update(replicas=0, minReplicas=0, maxReplicas=9),
        lambda spec: spec["workerGroupSpecs"][1].update(scaleStrategy={"workersToDelete": ["pod"]}),
        set_to(pod, "tolerations", [{"key": "a"}]),
        set_to(pod, "schedulingGates", [{"name": "a"}]),
        lambda spec: spec["headGroupSpec"]["template"]["spec"].update(tolerations=[{"key": "a"}]),
        set_to(whole, "upgradeStrategy", {"type": "None"}),
        set_to(whole, "suspend", True),
        set_to(pod, "nodeSelector", {}),
        set_to(pod, "affinity", None),
        set_to(pod, "hostNetwork", False),
        set_to(pod, "imagePullSecrets", []),
        lambda spec: container(spec)["resources"]["requests"].update(cpu="0.2"),
        lambda spec: container(spec)["resources"]["limits"].update(memory="3072Mi"),
        lambda spec: container(spec)["resources"]["limits"].update(cpu=2),
        lambda spec: spec["headGroupSpec"]["template"]["metadata"].update(creationTimestamp=None),
    ],
)
def test_what_kuberay_does_not_look_at_is_no_difference(service: dict[str, Any], change: Change) -> None:
    assert differences(changed(service, change), running(service)) == []


def test_appended_groups_are_no_difference(service: dict[str, Any]) -> None:
    assert differences(groups.with_bucket_groups(service, 4), running(service)) == []


def test_quantities_that_are_none_are_compared_as_text(service: dict[str, Any]) -> None:
    found = differences(
        changed(service, lambda spec: container(spec)["resources"]["limits"].update(memory="much")), running(service)
    )
    assert found == [
        'workerGroupSpecs[1].template.spec.containers[0].resources.limits.memory: "much" in the RayService, "3Gi" running'
    ]


def test_long_values_and_many_differences_are_cut(service: dict[str, Any]) -> None:
    found = differences(changed(service, set_to(container, "image", "x" * 500)), running(service))
    assert len(found[0]) < 300
    assert described(["a", "b"]) == "a; b"
    assert described(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"
