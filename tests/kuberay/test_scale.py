"""`scale`: what it refuses, the order of its calls, and that it goes on wherever it was interrupted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from kuberay import groups
from kuberay.upgrade_state import UpgradeState
from serve_app.command_output.failure import Failure
from tests.kuberay.scaling import deployed, run, running_groups, service_groups
from tests.kuberay.stage import Stage


@pytest.fixture
def cluster() -> Iterator[Stage]:
    with deployed() as made:
        yield made


# -- nothing to do ---------------------------------------------------------------------------------------------------


def test_the_number_that_there_is_is_nothing_to_do(cluster: Stage) -> None:
    assert run(cluster, 2) == 0
    assert cluster.fake.writes == []
    assert "The store has 2 buckets." in cluster.out.getvalue()


def test_a_claim_that_is_missing_is_made(cluster: Stage) -> None:
    cluster.fake.remove("persistentvolumeclaims", "cloud-storage-bucket-0")
    assert run(cluster, 2) == 0
    assert cluster.fake.writes == ["apply persistentvolumeclaims/cloud-storage-bucket-0"]


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -1, 65])
def test_numbers_that_no_store_has_are_refused(cluster: Stage, count: int) -> None:
    with pytest.raises(Failure, match=f"a store has 1 to 64 buckets, not {count}"):
        run(cluster, count)
    assert cluster.fake.calls == []


def test_without_a_store_it_says_how_to_get_one(cluster: Stage) -> None:
    cluster.fake.remove("rayservices", "cloud-storage")
    with pytest.raises(Failure, match=r"there is no store in the namespace cloud-storage: start one with .* deploy"):
        run(cluster, 3)


def test_drift_is_refused_and_named(cluster: Stage) -> None:
    service = cluster.fake.get("rayservices", "cloud-storage")
    service["spec"]["rayClusterConfig"]["workerGroupSpecs"][1]["template"]["spec"]["containers"][0]["image"] = "other:1"
    with pytest.raises(Failure, match="drifted from the RayService, so KubeRay would ignore new buckets: ") as raised:
        run(cluster, 3)
    assert 'workerGroupSpecs[1].template.spec.containers[0].image: "other:1" in the RayService, ' in str(raised.value)
    assert "upgrade --image cloud-storage:0.1.0" in str(raised.value)
    assert cluster.fake.writes == []


def test_a_store_that_does_not_answer_is_not_changed(cluster: Stage) -> None:
    cluster.fake.store = lambda path: (503, {"title": "Unavailable", "detail": "the store is not up yet"})
    with pytest.raises(Failure, match=r"the store does not answer \(the store is not up yet\)"):
        run(cluster, 3)


def test_nobody_may_ask_the_store(cluster: Stage) -> None:
    cluster.fake.refuse = lambda call: (403, "services/proxy is forbidden") if call.startswith("ask") else None
    with pytest.raises(
        Failure, match="no permission to ask the store through the API server: services/proxy is forbidden"
    ):
        run(cluster, 3)


def test_an_upgrade_under_way_comes_first(cluster: Stage) -> None:
    state = UpgradeState("x:2", ["x:1"], "2026-01-01T12:00:00+00:00")
    cluster.fake.get("rayservices", "cloud-storage")["metadata"]["annotations"].update(state.annotation())
    with pytest.raises(Failure, match="an upgrade to x:2, started"):
        run(cluster, 3)


@pytest.mark.parametrize(
    ("place", "name", "value", "sentence"),
    [
        ("spec", "suspend", True, "the store is suspended"),
        ("metadata", "deletionTimestamp", "2026-01-01T12:00:00Z", "the store is being deleted"),
    ],
)
def test_a_store_on_its_way_elsewhere_is_not_changed(
    cluster: Stage, place: str, name: str, value: object, sentence: str
) -> None:
    cluster.fake.get("rayservices", "cloud-storage")[place][name] = value
    with pytest.raises(Failure, match=sentence):
        run(cluster, 3)


def test_a_store_without_a_cluster_is_not_changed(cluster: Stage) -> None:
    cluster.fake.get("rayservices", "cloud-storage")["status"].pop("activeServiceStatus")
    with pytest.raises(Failure, match="KubeRay has made no RayCluster"):
        run(cluster, 3)


def test_without_a_claim_to_copy_it_says_so(cluster: Stage) -> None:
    cluster.fake.remove("persistentvolumeclaims", "cloud-storage-bucket-1")
    with pytest.raises(Failure, match="the claim cloud-storage-bucket-1 is missing: there is none to make others like"):
        run(cluster, 3)


# -- growing ---------------------------------------------------------------------------------------------------------


def test_growing_makes_room_first_and_then_asks_for_the_move(cluster: Stage) -> None:
    assert run(cluster, 4) == 0
    assert cluster.fake.writes == [
        "apply persistentvolumeclaims/cloud-storage-bucket-2",
        "apply persistentvolumeclaims/cloud-storage-bucket-3",
        "patch rayservices/cloud-storage",  # the groups
        "patch poddisruptionbudgets/cloud-storage-buckets",
        "patch rayservices/cloud-storage",  # bucket_count
    ]
    assert running_groups(cluster) == service_groups(cluster)
    assert running_groups(cluster) == {"directory": 2, "bucket-0": 1, "bucket-1": 1, "bucket-2": 1, "bucket-3": 1}
    assert len(cluster.fake.all("rayclusters")) == cluster.operator.clusters_made == 1, "in place"
    assert cluster.fake.get("poddisruptionbudgets", "cloud-storage-buckets")["spec"]["minAvailable"] == 3
    assert cluster.operator.store_count == 4


def test_the_store_is_asked_only_when_all_pods_are_there(cluster: Stage) -> None:
    def check() -> None:
        service = cluster.fake.get("rayservices", "cloud-storage")
        if groups.bucket_count(service) == 4:
            assert all(pod["status"] for pod in cluster.fake.all("pods"))
            assert len(cluster.fake.all("pods")) == 8

    cluster.fake.on_write = check
    run(cluster, 4)


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_growing_goes_on_where_it_was(cluster: Stage, step: int, done: bool) -> None:
    def refuse(call: str) -> tuple[int, str] | None:
        write = call.startswith(("patch", "apply"))
        written = len(cluster.fake.writes) - write
        return (500, "gone") if written > step or (written == step and write and not done) else None

    cluster.fake.refuse = refuse
    with pytest.raises(Failure):
        run(cluster, 4)
    cluster.fake.refuse = lambda call: None
    assert run(cluster, 4) == 0
    assert cluster.operator.store_count == 4
    assert running_groups(cluster) == service_groups(cluster)


def test_a_number_that_found_no_room_is_called_off(cluster: Stage) -> None:
    """Pods for 4 never come; 3 are enough for 3, and the store that has 2 goes back to 2 at once."""
    make_ready = cluster.operator._make_pods_ready

    def all_but_bucket_3() -> None:
        make_ready()
        for pod in cluster.fake.all("pods"):
            if pod["metadata"]["labels"].get("ray.io/group") == "bucket-3":
                pod["status"] = {"phase": "Pending", "conditions": []}

    cluster.operator._make_pods_ready = all_but_bucket_3  # type: ignore[method-assign]
    with pytest.raises(Failure, match="starting the pods of 4 buckets took longer than 30 s"):
        run(cluster, 4, timeout_s=30.0)
    assert run(cluster, 2) == 0
    assert running_groups(cluster) == {"directory": 2, "bucket-0": 1, "bucket-1": 1, "bucket-2": 0, "bucket-3": 0}
    with pytest.raises(Failure, match="starting the pods of 4 buckets"):
        run(cluster, 4, timeout_s=30.0)
    assert run(cluster, 3) == 0
    assert running_groups(cluster) == {"directory": 2, "bucket-0": 1, "bucket-1": 1, "bucket-2": 1, "bucket-3": 0}
    assert cluster.operator.store_count == 3


def test_a_new_group_is_like_the_last_one(cluster: Stage) -> None:
    service = cluster.fake.get("rayservices", "cloud-storage")
    for spec in (service["spec"]["rayClusterConfig"], cluster.fake.all("rayclusters")[0]["spec"]):
        spec["workerGroupSpecs"][-1]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    run(cluster, 3)
    group = groups.bucket_groups(cluster.fake.get("rayservices", "cloud-storage"))[2]
    assert group["template"]["spec"]["nodeSelector"] == {"disk": "fast"}
    assert groups.claim_name(group) == "cloud-storage-bucket-2"
    assert group["resources"]["bucket-2"] == "1"


# -- shrinking -------------------------------------------------------------------------------------------------------


def test_shrinking_moves_first_and_then_ends_pods(cluster: Stage) -> None:
    run(cluster, 4)
    cluster.fake.calls.clear()
    assert run(cluster, 2) == 0
    assert cluster.fake.writes == [
        "patch rayservices/cloud-storage",  # bucket_count
        "patch poddisruptionbudgets/cloud-storage-buckets",
        "patch rayservices/cloud-storage",  # replicas
        "patch rayclusters/cloud-storage-1",
    ]
    assert service_groups(cluster) == running_groups(cluster)
    assert running_groups(cluster) == {"directory": 2, "bucket-0": 1, "bucket-1": 1, "bucket-2": 0, "bucket-3": 0}
    assert len(cluster.fake.all("pods")) == 6
    assert cluster.fake.get("poddisruptionbudgets", "cloud-storage-buckets")["spec"]["minAvailable"] == 1


def test_claims_are_kept_and_named(cluster: Stage) -> None:
    run(cluster, 3)
    run(cluster, 2)
    assert ("persistentvolumeclaims", "cloud-storage", "cloud-storage-bucket-2") in cluster.fake.objects
    assert "The claims cloud-storage-bucket-2 are kept" in cluster.out.getvalue()
    assert "kubectl delete pvc -n cloud-storage cloud-storage-bucket-2" in cluster.out.getvalue()


def test_growing_again_raises_groups_in_both_places(cluster: Stage) -> None:
    run(cluster, 3)
    run(cluster, 1)
    cluster.fake.calls.clear()
    assert run(cluster, 3) == 0
    assert cluster.fake.writes == [
        "patch rayservices/cloud-storage",
        "patch rayclusters/cloud-storage-1",  # KubeRay hands replicas on only along with a new group
        "patch poddisruptionbudgets/cloud-storage-buckets",
        "patch rayservices/cloud-storage",
    ]
    assert running_groups(cluster) == service_groups(cluster)
    assert len(cluster.fake.all("pods")) == 7


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_shrinking_goes_on_where_it_was(cluster: Stage, step: int, done: bool) -> None:
    run(cluster, 4)
    cluster.fake.calls.clear()

    def refuse(call: str) -> tuple[int, str] | None:
        write = call.startswith(("patch", "apply"))
        written = len(cluster.fake.writes) - write
        return (500, "gone") if written > step or (written == step and write and not done) else None

    cluster.fake.refuse = refuse
    if step < 3 or not done:
        with pytest.raises(Failure):
            run(cluster, 2)
    cluster.fake.refuse = lambda call: None
    assert run(cluster, 2) == 0
    assert running_groups(cluster) == service_groups(cluster)
    assert running_groups(cluster)["bucket-2"] == 0
    assert len(cluster.fake.all("pods")) == 6


# -- a dry run -------------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_end_and_changes_nothing(cluster: Stage) -> None:
    cluster.out.truncate(0)
    cluster.out.seek(0)
    assert run(cluster, 3, dry_run=True) == 0
    assert cluster.fake.writes == []
    claim, service, budget = yaml.safe_load_all(cluster.out.getvalue())
    assert claim["metadata"]["name"] == "cloud-storage-bucket-2"
    assert groups.bucket_count(service) == 3
    assert groups.replicas(service)["bucket-2"] == 1
    assert budget["spec"]["minAvailable"] == 2
