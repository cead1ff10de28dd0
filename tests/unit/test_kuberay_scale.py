"""`scale`: what it refuses, and the order of its calls where the store can move its keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from kuberay import groups
from kuberay.commands import scale as scale_command
from kuberay.commands.deploy import deploy
from kuberay.commands.scale import scale
from kuberay.upgrade_state import UpgradeState
from serve_app.cli.failure import Failure
from tests.support.kuberay_session import Stage, stage


@pytest.fixture
def cluster() -> Iterator[Stage]:
    with stage() as made:
        deploy(made.session, {"buckets": 2}, until_ready=True, timeout_s=100.0)
        made.fake.calls.clear()
        yield made


@pytest.fixture
def moving(cluster: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A store that can move keys, and a command that lets it."""
    monkeypatch.setattr(scale_command, "refuse_resharding", lambda known, count: None)
    cluster.operator.moves = True
    return cluster


def run(cluster: Stage, count: int, *, dry_run: bool = False, timeout_s: float = 200.0) -> int:
    return scale(cluster.session, count, dry_run=dry_run, timeout_s=timeout_s)


def service_groups(cluster: Stage) -> dict[str, int]:
    return groups.replicas(cluster.fake.get("rayservices", "cloud-storage"))


def running_groups(cluster: Stage) -> dict[str, int]:
    return groups.replicas(cluster.fake.all("rayclusters")[0])


# -- until keys can move ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_buckets_is_refused_with_what_the_store_holds(cluster: Stage, count: int) -> None:
    with pytest.raises(Failure, match=r"founded with 2 buckets and holds 20 keys; changing .* is not built yet"):
        run(cluster, count)
    assert cluster.fake.writes == []


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


def test_drift_is_refused_and_named(moving: Stage) -> None:
    service = moving.fake.get("rayservices", "cloud-storage")
    service["spec"]["rayClusterConfig"]["workerGroupSpecs"][1]["template"]["spec"]["containers"][0]["image"] = "other:1"
    with pytest.raises(Failure, match="drifted from the RayService, so KubeRay would ignore new buckets: ") as raised:
        run(moving, 3)
    assert 'workerGroupSpecs[1].template.spec.containers[0].image: "other:1" in the RayService, ' in str(raised.value)
    assert "upgrade --image cloud-storage:0.1.0" in str(raised.value)
    assert moving.fake.writes == []


def test_a_store_that_does_not_answer_is_not_changed(moving: Stage) -> None:
    moving.fake.store = lambda path: (503, {"title": "Unavailable", "detail": "the store is not up yet"})
    with pytest.raises(Failure, match=r"the store does not answer \(the store is not up yet\)"):
        run(moving, 3)


def test_nobody_may_ask_the_store(moving: Stage) -> None:
    moving.fake.refuse = lambda call: (403, "services/proxy is forbidden") if call.startswith("ask") else None
    with pytest.raises(
        Failure, match="no permission to ask the store through the API server: services/proxy is forbidden"
    ):
        run(moving, 3)


def test_an_upgrade_under_way_comes_first(moving: Stage) -> None:
    state = UpgradeState("x:2", ["x:1"], "2026-01-01T12:00:00+00:00")
    moving.fake.get("rayservices", "cloud-storage")["metadata"]["annotations"].update(state.annotation())
    with pytest.raises(Failure, match="an upgrade to x:2, started"):
        run(moving, 3)


@pytest.mark.parametrize(
    ("place", "name", "value", "sentence"),
    [
        ("spec", "suspend", True, "the store is suspended"),
        ("metadata", "deletionTimestamp", "2026-01-01T12:00:00Z", "the store is being deleted"),
    ],
)
def test_a_store_on_its_way_elsewhere_is_not_changed(
    moving: Stage, place: str, name: str, value: object, sentence: str
) -> None:
    moving.fake.get("rayservices", "cloud-storage")[place][name] = value
    with pytest.raises(Failure, match=sentence):
        run(moving, 3)


def test_a_store_without_a_cluster_is_not_changed(moving: Stage) -> None:
    moving.fake.get("rayservices", "cloud-storage")["status"].pop("activeServiceStatus")
    with pytest.raises(Failure, match="KubeRay has made no RayCluster"):
        run(moving, 3)


def test_without_a_claim_to_copy_it_says_so(moving: Stage) -> None:
    moving.fake.remove("persistentvolumeclaims", "cloud-storage-bucket-1")
    with pytest.raises(Failure, match="the claim cloud-storage-bucket-1 is missing: there is none to make others like"):
        run(moving, 3)


# -- growing ---------------------------------------------------------------------------------------------------------


def test_growing_makes_room_first_and_then_asks_for_the_move(moving: Stage) -> None:
    assert run(moving, 4) == 0
    assert moving.fake.writes == [
        "apply persistentvolumeclaims/cloud-storage-bucket-2",
        "apply persistentvolumeclaims/cloud-storage-bucket-3",
        "patch rayservices/cloud-storage",  # the groups
        "patch poddisruptionbudgets/cloud-storage-buckets",
        "patch rayservices/cloud-storage",  # bucket_count
    ]
    assert running_groups(moving) == service_groups(moving)
    assert running_groups(moving) == {"directory": 2, "bucket-0": 1, "bucket-1": 1, "bucket-2": 1, "bucket-3": 1}
    assert len(moving.fake.all("rayclusters")) == moving.operator.clusters_made == 1, "in place"
    assert moving.fake.get("poddisruptionbudgets", "cloud-storage-buckets")["spec"]["minAvailable"] == 3
    assert moving.operator.store_count == 4


def test_the_move_is_followed(moving: Stage) -> None:
    run(moving, 4)
    assert "moving from 2 to 4 buckets: 12 keys moved, 28 to go" in moving.out.getvalue()
    assert "The store has 4 buckets." in moving.out.getvalue()


def test_the_store_is_asked_only_when_all_pods_are_there(moving: Stage) -> None:
    def check() -> None:
        service = moving.fake.get("rayservices", "cloud-storage")
        if groups.bucket_count(service) == 4:
            assert all(pod["status"] for pod in moving.fake.all("pods"))
            assert len(moving.fake.all("pods")) == 8

    moving.fake.on_write = check
    run(moving, 4)


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_growing_goes_on_where_it_was(moving: Stage, step: int, done: bool) -> None:
    def refuse(call: str) -> tuple[int, str] | None:
        write = call.startswith(("patch", "apply"))
        written = len(moving.fake.writes) - write
        return (500, "gone") if written > step or (written == step and write and not done) else None

    moving.fake.refuse = refuse
    with pytest.raises(Failure):
        run(moving, 4)
    moving.fake.refuse = lambda call: None
    assert run(moving, 4) == 0
    assert moving.operator.store_count == 4
    assert running_groups(moving) == service_groups(moving)


def test_a_store_that_refuses_the_count_is_heard(moving: Stage) -> None:
    moving.operator.moves = False
    moving.operator.problem = "bucket-2 holds records already"
    with pytest.raises(Failure, match="the store does not take 3 buckets: bucket-2 holds records already"):
        run(moving, 3)


def test_a_new_group_is_like_the_last_one(moving: Stage) -> None:
    service = moving.fake.get("rayservices", "cloud-storage")
    for spec in (service["spec"]["rayClusterConfig"], moving.fake.all("rayclusters")[0]["spec"]):
        spec["workerGroupSpecs"][-1]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    run(moving, 3)
    group = groups.bucket_groups(moving.fake.get("rayservices", "cloud-storage"))[2]
    assert group["template"]["spec"]["nodeSelector"] == {"disk": "fast"}
    assert groups.claim_name(group) == "cloud-storage-bucket-2"
    assert group["resources"]["bucket-2"] == "1"


# -- shrinking -------------------------------------------------------------------------------------------------------


def test_shrinking_moves_first_and_then_ends_pods(moving: Stage) -> None:
    run(moving, 4)
    moving.fake.calls.clear()
    assert run(moving, 2) == 0
    assert moving.fake.writes == [
        "patch rayservices/cloud-storage",  # bucket_count
        "patch poddisruptionbudgets/cloud-storage-buckets",
        "patch rayservices/cloud-storage",  # replicas
        "patch rayclusters/cloud-storage-1",
    ]
    assert service_groups(moving) == running_groups(moving)
    assert running_groups(moving) == {"directory": 2, "bucket-0": 1, "bucket-1": 1, "bucket-2": 0, "bucket-3": 0}
    assert len(moving.fake.all("pods")) == 6
    assert moving.fake.get("poddisruptionbudgets", "cloud-storage-buckets")["spec"]["minAvailable"] == 1


def test_claims_are_kept_and_named(moving: Stage) -> None:
    run(moving, 3)
    run(moving, 2)
    assert ("persistentvolumeclaims", "cloud-storage", "cloud-storage-bucket-2") in moving.fake.objects
    assert "The claims cloud-storage-bucket-2 are kept" in moving.out.getvalue()
    assert "kubectl delete pvc -n cloud-storage cloud-storage-bucket-2" in moving.out.getvalue()


def test_growing_again_raises_groups_in_both_places(moving: Stage) -> None:
    run(moving, 3)
    run(moving, 1)
    moving.fake.calls.clear()
    assert run(moving, 3) == 0
    assert moving.fake.writes == [
        "patch rayservices/cloud-storage",
        "patch rayclusters/cloud-storage-1",  # KubeRay hands replicas on only along with a new group
        "patch poddisruptionbudgets/cloud-storage-buckets",
        "patch rayservices/cloud-storage",
    ]
    assert running_groups(moving) == service_groups(moving)
    assert len(moving.fake.all("pods")) == 7


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_shrinking_goes_on_where_it_was(moving: Stage, step: int, done: bool) -> None:
    run(moving, 4)
    moving.fake.calls.clear()

    def refuse(call: str) -> tuple[int, str] | None:
        write = call.startswith(("patch", "apply"))
        written = len(moving.fake.writes) - write
        return (500, "gone") if written > step or (written == step and write and not done) else None

    moving.fake.refuse = refuse
    if step < 3 or not done:
        with pytest.raises(Failure):
            run(moving, 2)
    moving.fake.refuse = lambda call: None
    assert run(moving, 2) == 0
    assert running_groups(moving) == service_groups(moving)
    assert running_groups(moving)["bucket-2"] == 0
    assert len(moving.fake.all("pods")) == 6


# -- a dry run -------------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_end_and_changes_nothing(moving: Stage) -> None:
    moving.out.truncate(0)
    moving.out.seek(0)
    assert run(moving, 3, dry_run=True) == 0
    assert moving.fake.writes == []
    claim, service, budget = yaml.safe_load_all(moving.out.getvalue())
    assert claim["metadata"]["name"] == "cloud-storage-bucket-2"
    assert groups.bucket_count(service) == 3
    assert groups.replicas(service)["bucket-2"] == 1
    assert budget["spec"]["minAvailable"] == 2
