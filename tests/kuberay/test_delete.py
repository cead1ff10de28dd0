"""`delete`: the order of its calls, what it keeps, and what it asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import yaml

from kuberay.commands.delete import delete
from kuberay.commands.deploy import deploy
from serve_app.command_output.failure import Failure
from tests.kuberay.stage import Stage, stage


@pytest.fixture
def cluster() -> Iterator[Stage]:
    with stage() as made:
        deploy(made.session, {}, until_ready=True, timeout_s=100.0)
        made.fake.put(
            "secrets",
            {"metadata": {"name": "cloud-storage-redis", "labels": {"app.kubernetes.io/name": "cloud-storage"}}},
        )
        made.fake.put("secrets", {"metadata": {"name": "somebody-elses"}})
        made.fake.calls.clear()
        yield made


def run(
    cluster: Stage,
    *,
    delete_data: bool = False,
    confirm: Callable[[str], str] | None = None,
    dry_run: bool = False,
    timeout_s: float = 100.0,
) -> int:
    return delete(cluster.session, delete_data=delete_data, confirm=confirm, dry_run=dry_run, timeout_s=timeout_s)


def test_the_rayservice_goes_first_and_the_claims_stay(cluster: Stage) -> None:
    assert run(cluster) == 0
    assert cluster.fake.writes[0] == "delete rayservices/cloud-storage"
    plurals = [call.split()[1].split("/")[0] for call in cluster.fake.writes]
    assert plurals.index("deployments") > plurals.index("poddisruptionbudgets")
    assert "persistentvolumeclaims" not in plurals
    assert "namespaces" not in plurals
    left = {plural for plural, _, _ in cluster.fake.objects}
    assert left == {"namespaces", "persistentvolumeclaims", "pods", "secrets"}
    assert [secret["metadata"]["name"] for secret in cluster.fake.all("secrets")] == ["somebody-elses"]
    shown = cluster.out.getvalue()
    assert "These claims are kept, with all records: cloud-storage-bucket-0, cloud-storage-bucket-1" in shown
    assert "`python -m kuberay delete --delete-data` deletes them" in shown


def test_redis_goes_only_when_rays_pods_are_gone(cluster: Stage) -> None:
    def check() -> None:
        if "delete deployments/cloud-storage-redis" in cluster.fake.calls:
            assert not [pod for pod in cluster.fake.all("pods") if "ray.io/node-type" in pod["metadata"]["labels"]]

    cluster.fake.on_write = check
    run(cluster)


def test_data_goes_when_the_namespace_is_typed(cluster: Stage) -> None:
    asked = []

    def confirm(question: str) -> str:
        asked.append(question)
        return "cloud-storage"

    assert run(cluster, delete_data=True, confirm=confirm) == 0
    assert "This deletes 2 buckets with all their records, for good" in asked[0]
    assert cluster.fake.writes[-1] == "delete namespaces/cloud-storage"
    assert not cluster.fake.all("persistentvolumeclaims")
    assert "with the data of 2 buckets" in cluster.out.getvalue()


def test_another_answer_deletes_nothing(cluster: Stage) -> None:
    with pytest.raises(Failure, match="nothing was deleted: 'yes' is not 'cloud-storage'"):
        run(cluster, delete_data=True, confirm=lambda question: "yes")
    assert cluster.fake.writes == []


def test_with_yes_nothing_is_asked(cluster: Stage) -> None:
    assert run(cluster, delete_data=True) == 0
    assert not cluster.fake.all("persistentvolumeclaims")


def test_a_namespace_of_somebody_else_stays(cluster: Stage) -> None:
    cluster.fake.put("namespaces", {"metadata": {"name": "cloud-storage"}})
    run(cluster, delete_data=True)
    assert cluster.fake.all("namespaces")


def test_where_there_is_nothing_it_says_so(cluster: Stage) -> None:
    run(cluster, delete_data=True)
    cluster.fake.calls.clear()
    assert run(cluster) == 0
    assert cluster.fake.writes == []
    assert "There is no store in the namespace cloud-storage." in cluster.out.getvalue()


def test_claims_that_are_left_can_be_deleted_later(cluster: Stage) -> None:
    run(cluster)
    assert run(cluster, delete_data=True) == 0
    assert not cluster.fake.all("persistentvolumeclaims")


@pytest.mark.parametrize("step", range(6))
def test_interrupted_it_goes_on(cluster: Stage, step: int) -> None:
    cluster.fake.refuse = lambda call: (500, "gone") if len(cluster.fake.writes) > step else None
    with pytest.raises(Failure):
        run(cluster, delete_data=True)
    cluster.fake.refuse = lambda call: None
    assert run(cluster, delete_data=True) == 0
    assert {plural for plural, _, _ in cluster.fake.objects} <= {"pods", "secrets"}


def test_an_operator_that_does_not_let_go_is_named(cluster: Stage) -> None:
    cluster.operator.runs = False
    for pod in cluster.fake.all("pods"):
        cluster.fake.remove("pods", pod["metadata"]["name"])
    with pytest.raises(
        Failure, match="deleting took longer than 60 s: the RayService is not gone yet: KubeRay empties Redis first"
    ):
        run(cluster, timeout_s=60.0)


def test_no_permission_is_said(cluster: Stage) -> None:
    cluster.fake.refuse = lambda call: (403, "rayservices is forbidden") if call.startswith("delete") else None
    with pytest.raises(Failure, match="no permission to delete the rayservice cloud-storage: rayservices is forbidden"):
        run(cluster)


@pytest.mark.parametrize("delete_data", [False, True])
def test_a_dry_run_lists_what_would_go(cluster: Stage, delete_data: bool) -> None:
    cluster.out.truncate(0)
    cluster.out.seek(0)
    assert run(cluster, delete_data=delete_data, dry_run=True) == 0
    assert cluster.fake.writes == []
    listed = list(yaml.safe_load_all(cluster.out.getvalue()))
    assert listed[0]["kind"] == "RayService"
    kinds = [each["kind"] for each in listed]
    assert ("PersistentVolumeClaim" in kinds) == ("Namespace" in kinds) == delete_data
    assert all(re.fullmatch(r".*v1", each["apiVersion"]) for each in listed)
