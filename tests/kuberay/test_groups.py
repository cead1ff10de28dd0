"""The pure functions on documents: what they change, and all that they leave as a user wrote it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from kuberay import groups
from kuberay.manifests import Options, render
from serve_app.command_output.failure import Failure


@pytest.fixture(scope="module")
def rendered() -> dict[str, Any]:
    return next(document for document in render(Options(buckets=2)) if document["kind"] == "RayService")


@pytest.fixture
def service(rendered: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(rendered)


def test_reading(service: dict[str, Any]) -> None:
    assert groups.bucket_count(service) == 2
    assert groups.directories(service) == 2
    assert groups.image(service) == "cloud-storage:0.1.0"
    assert sorted(groups.bucket_groups(service)) == [0, 1]
    assert groups.replicas(service) == {"directory": 2, "bucket-0": 1, "bucket-1": 1}
    assert groups.has_directory_group(service)
    assert groups.claim_name(groups.bucket_groups(service)[1]) == "cloud-storage-bucket-1"


def test_the_bucket_count_changes_and_comments_stay(service: dict[str, Any]) -> None:
    text = service["spec"]["serveConfigV2"].replace("bucket_count: 2", "bucket_count: 2 # ours") + "# the end\n"
    service["spec"]["serveConfigV2"] = text
    changed = groups.with_bucket_count(service, 12)
    assert groups.bucket_count(changed) == 12
    assert changed["spec"]["serveConfigV2"] == text.replace("bucket_count: 2", "bucket_count: 12")
    assert groups.bucket_count(service) == 2, "the original is not touched"


@pytest.mark.parametrize("style", [True, False])
def test_the_bucket_count_changes_however_it_is_written(service: dict[str, Any], style: bool) -> None:
    configuration = yaml.safe_load(service["spec"]["serveConfigV2"])
    service["spec"]["serveConfigV2"] = yaml.safe_dump(configuration, default_flow_style=style)
    changed = groups.with_bucket_count(service, 3)
    configuration["applications"][0]["deployments"][0]["user_config"]["bucket_count"] = 3
    assert yaml.safe_load(changed["spec"]["serveConfigV2"]) == configuration


@pytest.mark.parametrize(
    "text", ["", "applications: []", "{", "applications: [{deployments: [{user_config: {}}]}]", "3"]
)
def test_a_serve_configuration_of_something_else_is_said(service: dict[str, Any], text: str) -> None:
    service["spec"]["serveConfigV2"] = text
    with pytest.raises(
        Failure, match=r"serveConfigV2 has no applications\[0\]\.deployments\[0\]\.user_config\.bucket_count"
    ):
        groups.with_bucket_count(service, 3)


def test_new_groups_come_at_the_end_as_copies_with_other_names(service: dict[str, Any]) -> None:
    last = groups.worker_groups(service)[-1]
    last["template"]["spec"]["priorityClassName"] = "mine"
    last["rayStartParams"]["labels"] = "volume=bucket-1"
    changed = groups.with_bucket_groups(service, 12)
    names = [group["groupName"] for group in groups.worker_groups(changed)]
    assert names == ["directory", *(f"bucket-{bucket_id}" for bucket_id in range(12))]
    new = groups.bucket_groups(changed)[11]
    assert groups.claim_name(new) == "cloud-storage-bucket-11"
    assert new["resources"] == {"CPU": "0", "bucket-11": "1"}
    assert new["template"]["spec"]["priorityClassName"] == "mine"
    assert new["rayStartParams"]["labels"] == "volume=bucket-11"
    assert groups.worker_groups(changed)[:3] == groups.worker_groups(service), "what runs is not touched"


def test_a_group_that_was_lowered_runs_again(service: dict[str, Any]) -> None:
    lowered = groups.with_lowered_groups(service, 1)
    assert groups.replicas(lowered) == {"directory": 2, "bucket-0": 1, "bucket-1": 0}
    assert groups.with_bucket_groups(lowered, 2) == service
    grown = groups.with_bucket_groups(lowered, 3)
    assert groups.replicas(grown) == {"directory": 2, "bucket-0": 1, "bucket-1": 1, "bucket-2": 1}


def test_without_a_group_to_copy_it_says_so(service: dict[str, Any]) -> None:
    service["spec"]["rayClusterConfig"]["workerGroupSpecs"] = []
    with pytest.raises(Failure, match="no worker group bucket-0 to make others like"):
        groups.with_bucket_groups(service, 2)


def test_a_group_without_its_volume_is_said(service: dict[str, Any]) -> None:
    with pytest.raises(Failure, match="the worker group directory of the RayService has no volume `data` on a claim"):
        groups.claim_name(groups.worker_groups(service)[0])


def test_replicas_go_to_a_raycluster_as_well(service: dict[str, Any]) -> None:
    ray_cluster = {"spec": copy.deepcopy(service["spec"]["rayClusterConfig"])}
    lowered = groups.with_lowered_groups(ray_cluster, 1)
    assert groups.replicas(lowered)["bucket-1"] == 0
    assert groups.with_replicas_of(lowered, service) == ray_cluster


def test_groups_that_only_the_live_service_has_are_kept(service: dict[str, Any]) -> None:
    live = groups.with_lowered_groups(groups.with_bucket_groups(service, 3), 2)
    kept = groups.with_groups_kept(service, live)
    assert groups.worker_groups(kept) == groups.worker_groups(live)
    assert groups.with_groups_kept(live, live) == live


@pytest.mark.parametrize(
    ("text", "renamed"),
    [
        ("bucket-1", "bucket-7"),
        ("cloud-storage-bucket-1", "cloud-storage-bucket-7"),
        ('{"bucket-1": 1}', '{"bucket-7": 1}'),
        ("bucket-1/data", "bucket-7/data"),
        ("bucket-10", "bucket-10"),
        ("mybucket-1", "mybucket-1"),
        ("bucket", "bucket"),
    ],
)
def test_only_the_buckets_own_name_is_exchanged(text: str, renamed: str) -> None:
    assert groups.renamed({text: [text, 1]}, 1, 7) == {renamed: [renamed, 1]}


def test_a_claim_like_another_binds_to_a_volume_of_its_own() -> None:
    claim = {
        "metadata": {
            "name": "cloud-storage-bucket-1",
            "namespace": "n",
            "labels": {"a": "b"},
            "uid": "u",
            "annotations": {},
        },
        "spec": {"storageClassName": "fast", "volumeName": "pv-1", "resources": {"requests": {"storage": "5Gi"}}},
        "status": {"phase": "Bound"},
    }
    assert groups.claim_like(claim, 1, 2) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "cloud-storage-bucket-2", "namespace": "n", "labels": {"a": "b"}},
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}},
    }


def test_only_containers_of_that_image_get_another(service: dict[str, Any]) -> None:
    pod = groups.worker_groups(service)[1]["template"]["spec"]
    pod["containers"].append({"name": "sidecar", "image": "sidecar:1"})
    pod["initContainers"] = [{"name": "first", "image": "cloud-storage:0.1.0"}]
    changed = groups.with_image(service, "cloud-storage:0.1.0", "cloud-storage:2")
    pod = groups.worker_groups(changed)[1]["template"]["spec"]
    assert [container["image"] for container in pod["containers"]] == ["cloud-storage:2", "sidecar:1"]
    assert pod["initContainers"][0]["image"] == "cloud-storage:2"
    assert groups.image(changed) == "cloud-storage:2"
    assert groups.image(service) == "cloud-storage:0.1.0"


@pytest.mark.parametrize(("count", "available"), [(1, 0), (2, 1), (64, 63)])
def test_a_disruption_takes_one_bucket(count: int, available: int) -> None:
    assert groups.budget(count) == {"spec": {"minAvailable": available}}
