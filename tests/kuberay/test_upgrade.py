"""`upgrade`: its steps in order, and that it can be interrupted at any of them and gone on with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from kuberay import groups
from kuberay.commands.deploy import deploy
from kuberay.commands.upgrade import upgrade
from kuberay.upgrade_state import ANNOTATION, upgrade_of
from serve_app.command_output.failure import Failure
from tests.kuberay.stage import Stage, stage

OLD, NEW = "cloud-storage:0.1.0", "cloud-storage:2"
STEPS = [
    "patch rayservices/cloud-storage",  # what is under way, and suspend
    "patch deployments/cloud-storage-redis",  # the image
    "patch rayservices/cloud-storage",
    "patch rayservices/cloud-storage",  # resume
    "patch rayservices/cloud-storage",  # done
]


@pytest.fixture
def cluster() -> Iterator[Stage]:
    with stage() as made:
        deploy(made.session, {}, until_ready=True, timeout_s=100.0)
        made.fake.calls.clear()
        yield made


def run(cluster: Stage, image: str = NEW, *, replace: bool = False, timeout_s: float = 100.0) -> int:
    return upgrade(cluster.session, image, replace=replace, dry_run=False, timeout_s=timeout_s)


def check_done(cluster: Stage, image: str = NEW) -> None:
    service = cluster.fake.get("rayservices", "cloud-storage")
    assert upgrade_of(service) is None
    assert not service["spec"].get("suspend")
    documents = [service, *cluster.fake.all("deployments"), *cluster.fake.all("rayclusters")]
    images = {name for name in find_images(documents) if name.startswith("cloud-storage")}
    assert images == {image}
    assert cluster.session.store.topology().all_reachable


def find_images(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        if isinstance(document.get("image"), str):
            yield document["image"]
        for value in document.values():
            yield from find_images(value)
    elif isinstance(document, list):
        for value in document:
            yield from find_images(value)


def test_the_store_is_suspended_changed_and_resumed(cluster: Stage) -> None:
    suspended = []
    patched = cluster.fake.on_write

    def watch() -> None:
        patched()
        suspended.append((cluster.fake.get("rayservices", "cloud-storage")["spec"].get("suspend"), ray_pods(cluster)))

    cluster.fake.on_write = watch
    assert run(cluster) == 0
    assert cluster.fake.writes == STEPS
    assert [state for state, _ in suspended] == [True, True, True, False, False]
    assert [pods for _, pods in suspended] == [5, 0, 0, 0, 5], "changed only while no pod is there"
    check_done(cluster)
    assert f"The store runs {NEW}." in cluster.out.getvalue()


def ray_pods(cluster: Stage) -> int:
    return sum("ray.io/node-type" in pod["metadata"]["labels"] for pod in cluster.fake.all("pods"))


def test_the_downtime_is_said(cluster: Stage) -> None:
    run(cluster)
    last = cluster.out.getvalue().strip().splitlines()[-1]
    assert last.startswith("It did not answer for ")
    assert 0 < int(last.split()[-2]) <= cluster.clock.passed_s


@pytest.mark.parametrize(("step", "done"), [(step, done) for step in range(len(STEPS)) for done in (False, True)][:-1])
def test_interrupted_at_a_step_it_goes_on(cluster: Stage, step: int, done: bool) -> None:
    """The connection is lost before the step is done, or after it was done and before that is known."""
    cut_off(cluster, step, done)
    with pytest.raises(Failure):
        run(cluster)
    restore(cluster)
    assert run(cluster) == 0
    check_done(cluster)


def cut_off(cluster: Stage, step: int, done: bool) -> None:
    """Everything from write number `step` on (or after it) is refused."""

    def refuse(call: str) -> tuple[int, str] | None:
        written = len(cluster.fake.writes) - call.startswith("patch")
        return (500, "gone") if written > step or (written == step and call.startswith("patch") and not done) else None

    cluster.fake.refuse = refuse


def restore(cluster: Stage) -> None:
    cluster.fake.refuse = lambda call: None


@pytest.mark.parametrize("wait", range(1, 14))
def test_interrupted_while_it_waits_it_goes_on(cluster: Stage, wait: int) -> None:
    waits = 0

    def interrupted() -> None:
        nonlocal waits
        waits += 1
        if waits == wait:
            raise KeyboardInterrupt
        cluster.operator.step()

    cluster.clock.on_sleep = interrupted
    try:
        run(cluster)
    except KeyboardInterrupt:
        assert run(cluster) == 0
    check_done(cluster)


def test_the_cluster_may_go_on_while_nobody_watches(cluster: Stage) -> None:
    cut_off(cluster, 1, done=False)
    with pytest.raises(Failure):
        run(cluster)
    restore(cluster)
    cluster.settle()
    assert run(cluster) == 0
    assert "Going on with the upgrade to cloud-storage:2 that was started 2026-01-01T12:00:" in cluster.out.getvalue()
    check_done(cluster)


def test_a_store_that_somebody_resumed_half_way_is_suspended_again(cluster: Stage) -> None:
    cut_off(cluster, 1, done=False)
    with pytest.raises(Failure):
        run(cluster)
    restore(cluster)
    cluster.fake.get("rayservices", "cloud-storage")["spec"]["suspend"] = False
    cluster.settle(20)
    assert run(cluster) == 0
    check_done(cluster)


def test_the_same_image_is_nothing_to_do(cluster: Stage) -> None:
    assert run(cluster, OLD) == 0
    assert cluster.fake.writes == []
    assert f"The store runs {OLD} already." in cluster.out.getvalue()


def test_the_same_image_brings_about_what_kuberay_ignores(cluster: Stage) -> None:
    service = cluster.fake.get("rayservices", "cloud-storage")
    limits = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][1]["template"]["spec"]["containers"][0][
        "resources"
    ]["limits"]
    limits["memory"] = "7Gi"
    assert run(cluster, OLD) == 0
    assert 'containers[0].resources.limits.memory: "7Gi" in the RayService, "3Gi" running' in cluster.out.getvalue()
    running = cluster.fake.all("rayclusters")[0]["spec"]["workerGroupSpecs"][1]["template"]["spec"]["containers"][0]
    assert running["resources"]["limits"]["memory"] == "7Gi"
    check_done(cluster, OLD)


def test_another_image_while_one_is_under_way_is_refused(cluster: Stage) -> None:
    cut_off(cluster, 1, done=False)
    with pytest.raises(Failure):
        run(cluster)
    restore(cluster)
    with pytest.raises(
        Failure,
        match=r"an upgrade to cloud-storage:2, started .*finish it first with `python -m kuberay upgrade "
        r"--image cloud-storage:2`, or give it up .* --image cloud-storage:3 --replace`",
    ):
        run(cluster, "cloud-storage:3")


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_one_under_way_can_be_given_up_for_another(cluster: Stage, step: int) -> None:
    cut_off(cluster, step, done=step < len(STEPS) - 1)
    with pytest.raises(Failure):
        run(cluster)
    restore(cluster)
    assert run(cluster, "cloud-storage:3", replace=True) == 0
    check_done(cluster, "cloud-storage:3")


def test_one_under_way_can_be_taken_back(cluster: Stage) -> None:
    cut_off(cluster, 3, done=True)
    with pytest.raises(Failure):
        run(cluster)
    restore(cluster)
    assert run(cluster, OLD, replace=True) == 0
    check_done(cluster, OLD)


def test_an_image_that_can_not_be_pulled_is_said_and_can_be_replaced(cluster: Stage) -> None:
    def no_image() -> None:
        cluster.operator.step()
        for pod in cluster.fake.all("pods"):
            if NEW in find_images(pod):
                waiting = {"reason": "ErrImagePull", "message": "not found"}
                state = {"name": "ray", "image": NEW, "state": {"waiting": waiting}}
                pod["status"] = {"phase": "Pending", "containerStatuses": [state]}

    cluster.clock.on_sleep = no_image
    with pytest.raises(Failure, match=r'the image "cloud-storage:2" can\'t be pulled: not found'):
        run(cluster)
    assert run(cluster, OLD, replace=True) == 0
    check_done(cluster, OLD)


def test_pods_that_do_not_go_are_said(cluster: Stage) -> None:
    cluster.operator.runs = False
    with pytest.raises(Failure, match="suspending took longer than 20 s: waiting for 5 pods to end"):
        run(cluster, timeout_s=20.0)


def test_a_downtime_that_nobody_measured_is_not_made_up(cluster: Stage) -> None:
    cluster.fake.store = lambda path: (503, {"message": "no endpoints"})
    with pytest.raises(Failure, match="starting the store on cloud-storage:2 took longer"):
        run(cluster, timeout_s=20.0)
    cluster.fake.store = cluster.operator.store
    assert run(cluster) == 0
    assert (
        "How long it did not answer is not known; the upgrade was started 2026-01-01T12:00:" in cluster.out.getvalue()
    )


@pytest.mark.parametrize("image", ["", "two words"])
def test_what_is_no_image_is_refused(cluster: Stage, image: str) -> None:
    with pytest.raises(Failure, match="is not the name of an image"):
        run(cluster, image)
    assert cluster.fake.calls == []


def test_a_store_that_is_being_deleted_is_not_upgraded(cluster: Stage) -> None:
    cluster.fake.get("rayservices", "cloud-storage")["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    with pytest.raises(Failure, match="the store is being deleted"):
        run(cluster)


def test_a_change_in_between_is_not_undone(cluster: Stage) -> None:
    """The RayService changes between reading and writing: it is read again."""
    conflicts: list[str] = []

    def change_meanwhile(call: str) -> tuple[int, str] | None:
        if call == "patch rayservices/cloud-storage" and not conflicts:
            conflicts.append(call)
            service = cluster.fake.get("rayservices", "cloud-storage")
            service["metadata"]["labels"]["mine"] = "yes"
            cluster.fake.put("rayservices", service)
        return None

    cluster.fake.refuse = change_meanwhile
    assert run(cluster) == 0
    assert len(cluster.fake.writes) == len(STEPS) + 1
    assert cluster.fake.get("rayservices", "cloud-storage")["metadata"]["labels"]["mine"] == "yes"


def test_a_dry_run_prints_what_will_be(cluster: Stage) -> None:
    cluster.out.truncate(0)
    cluster.out.seek(0)
    assert upgrade(cluster.session, NEW, replace=False, dry_run=True, timeout_s=1.0) == 0
    assert cluster.fake.writes == []
    deployment, service = yaml.safe_load_all(cluster.out.getvalue())
    assert deployment["spec"]["template"]["spec"]["initContainers"][0]["image"] == NEW
    assert groups.image(service) == NEW
    assert "status" not in service
    assert ANNOTATION not in str(service)
