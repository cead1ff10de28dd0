"""`deploy`: the order of its calls, what it shows, and what ends it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from kuberay import groups
from kuberay.commands import deploy as deploy_command
from kuberay.commands.deploy import deploy
from kuberay.commands.scale import scale
from kuberay.upgrade_state import UpgradeState
from serve_app.command_output.failure import Failure
from tests.kuberay.stage import Stage, stage


@pytest.fixture
def cluster() -> Iterator[Stage]:
    with stage() as made:
        yield made


def run(cluster: Stage, *, until_ready: bool = True, timeout_s: float = 100.0, **asked: Any) -> int:
    return deploy(cluster.session, asked, until_ready=until_ready, timeout_s=timeout_s)


# -- a new store -----------------------------------------------------------------------------------------------------


def test_a_new_store_is_applied_in_order_and_waited_for(cluster: Stage) -> None:
    assert run(cluster) == 0
    kinds = [call.split("/")[0] for call in cluster.fake.writes]
    assert kinds[0] == "apply namespaces"
    assert kinds[-1] == "apply rayservices", "last, when all that it needs is there"
    assert kinds.count("apply persistentvolumeclaims") == 3
    shown = cluster.out.getvalue()
    assert "The store is up with 2 buckets." in shown
    assert "http://cloud-storage-serve-svc.cloud-storage.svc:8000" in shown
    assert "python -m kuberay open" in shown


def test_it_shows_what_it_waits_for_as_that_changes(cluster: Stage) -> None:
    run(cluster)
    lines = [line for line in cluster.out.getvalue().splitlines() if line.startswith("pods ")]
    assert lines[0].startswith(
        "pods 0 of 6 ready (waiting for bucket-0, bucket-1, directory, head, redis), claims 0 of 3"
    )
    assert len(lines) == len(set(lines)) >= 3, "a line whenever something changes, and none otherwise"


def test_without_waiting_it_says_where_to_look(cluster: Stage) -> None:
    assert run(cluster, until_ready=False) == 0
    assert "python -m kuberay status" in cluster.out.getvalue()
    assert cluster.clock.passed_s == 0


def test_a_dry_run_asks_no_cluster(cluster: Stage) -> None:
    assert deploy_command.dry_run(cluster.session.terminal, "elsewhere", {"buckets": 3}) == 0
    assert cluster.fake.calls == []
    objects = list(yaml.safe_load_all(cluster.out.getvalue()))
    service = objects[-1]
    assert service["kind"] == "RayService"
    assert service["metadata"]["namespace"] == "elsewhere"
    assert groups.bucket_count(service) == 3


def test_buckets_are_waited_for_after_kuberay_calls_it_ready(cluster: Stage) -> None:
    cluster.operator.bucket_errors[1] = "the volume is empty"
    with pytest.raises(
        Failure, match=r"deploying took longer than 30 s: waiting for buckets \(bucket-1: the volume is empty\)"
    ):
        run(cluster, timeout_s=30.0)


def test_a_store_that_can_not_be_asked_is_not_waited_for(cluster: Stage) -> None:
    cluster.fake.refuse = lambda call: (403, "services/proxy is forbidden") if call.startswith("ask") else None
    assert run(cluster) == 0
    assert "no permission to ask the store through the API server" in cluster.err.getvalue()


def test_a_problem_of_the_store_is_shown(cluster: Stage) -> None:
    cluster.operator.problem = "configured for 3 buckets, and there are 2"
    assert run(cluster) == 0
    assert "warning: configured for 3 buckets" in cluster.err.getvalue()


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"service_type": "NodePort", "node_port": 30123, "tokens": False}, "on every node        http://NODE:30123"),
        (
            {"service_type": "LoadBalancer", "tokens": False},
            "has no address yet (kubectl get service cloud-storage-serve-svc",
        ),
    ],
)
def test_it_ends_with_the_address_of_the_services_type(cluster: Stage, asked: dict[str, Any], line: str) -> None:
    run(cluster, **asked)
    assert line in cluster.out.getvalue()


def test_a_load_balancers_address_is_shown(cluster: Stage) -> None:
    run(cluster, service_type="LoadBalancer", tokens=True)
    service = cluster.fake.get("services", "cloud-storage-serve-svc")
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}
    run(cluster)
    assert "http://203.0.113.7:8000" in cluster.out.getvalue()


# -- what is in the way ----------------------------------------------------------------------------------------------


def test_a_cluster_without_kuberay_is_told_apart(cluster: Stage) -> None:
    cluster.fake.has_kuberay = False
    with pytest.raises(Failure, match=r"KubeRay is not installed: (.|\n)*helm install kuberay-operator"):
        run(cluster)
    assert cluster.fake.writes == []


def test_an_operator_that_does_nothing_is_named_and_waited_for(cluster: Stage) -> None:
    cluster.operator.runs = False
    with pytest.raises(Failure, match="no KubeRay operator acts on the RayService"):
        run(cluster, timeout_s=60.0)
    assert cluster.clock.passed_s >= 60.0
    assert cluster.err.getvalue().count("no KubeRay operator acts") == 1


def test_missing_permission_is_one_sentence(cluster: Stage) -> None:
    cluster.fake.refuse = lambda call: (
        (403, "deployments is forbidden") if "deployments" in call and "apply" in call else None
    )
    with pytest.raises(
        Failure, match="no permission to apply the deployment cloud-storage-redis: deployments is forbidden"
    ):
        run(cluster)


def test_who_may_not_make_namespaces_goes_on_with_the_one_there_is(cluster: Stage) -> None:
    cluster.fake.refuse = lambda call: (403, "namespaces is forbidden") if "namespaces" in call else None
    assert run(cluster) == 0
    assert "going on with the namespace cloud-storage as it is" in cluster.err.getvalue()


def test_somebody_elses_namespace_is_left_as_it_is(cluster: Stage) -> None:
    cluster.fake.put("namespaces", {"metadata": {"name": "cloud-storage"}})
    run(cluster)
    assert "apply namespaces/cloud-storage" not in cluster.fake.writes


def test_what_can_not_heal_ends_it_after_a_while(cluster: Stage) -> None:
    def break_image() -> None:
        cluster.operator.step()
        for pod in cluster.fake.all("pods"):
            waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
            pod["status"] = {
                "phase": "Pending",
                "containerStatuses": [{"name": "ray", "image": "nowhere/x:1", "state": {"waiting": waiting}}],
            }

    cluster.clock.on_sleep = break_image
    with pytest.raises(Failure, match=r'the image "nowhere/x:1" can\'t be pulled: no such image'):
        run(cluster)
    assert 10.0 <= cluster.clock.passed_s < 20.0
    assert "warning: " in cluster.err.getvalue(), "said at once, before it ends the command"


def test_what_may_heal_is_said_and_waited_out(cluster: Stage) -> None:
    unschedulable = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}

    def too_large() -> None:
        cluster.operator.step()
        for pod in cluster.fake.all("pods"):
            pod["status"] = {"phase": "Pending", "conditions": [unschedulable]}

    cluster.clock.on_sleep = too_large
    with pytest.raises(Failure, match=r"deploying took longer than 50 s: .*fits on no node: 0/3 nodes"):
        run(cluster, timeout_s=50.0)
    assert "head fits on no node: 0/3 nodes are available" in cluster.err.getvalue()


def test_an_api_server_that_is_away_for_a_while_is_waited_for(cluster: Stage) -> None:
    run(cluster, until_ready=False)
    before = cluster.session.client.configuration.host
    cluster.session.client.configuration.host = "http://127.0.0.1:9"

    def back() -> None:
        cluster.operator.step()
        if cluster.clock.passed_s > 5:
            cluster.session.client.configuration.host = before

    cluster.clock.on_sleep = back
    deploy_command.wait_until_up(cluster.session, what="deploying", timeout_s=60.0)
    assert "the API server does not answer" in cluster.out.getvalue()


def test_an_application_that_fails_is_seen_while_the_old_one_still_serves(cluster: Stage) -> None:
    run(cluster)

    def failing() -> None:
        cluster.operator.step()
        status = cluster.fake.get("rayservices", "cloud-storage")["status"]["activeServiceStatus"]
        failed = {"status": "DEPLOY_FAILED", "message": "Traceback\nValueError: data_dir is missing"}
        status["applicationStatuses"] = {"cloud-storage": failed}

    failing()
    cluster.clock.on_sleep = failing
    with pytest.raises(
        Failure, match="Serve can't deploy the application cloud-storage: ValueError: data_dir is missing"
    ):
        run(cluster)


# -- deploying again -------------------------------------------------------------------------------------------------


def test_deploying_again_unchanged_changes_nothing(cluster: Stage) -> None:
    run(cluster, buckets=3, storage="2Gi", directories=1)
    before = cluster.fake.get("rayservices", "cloud-storage")["spec"]
    cluster.fake.calls.clear()
    assert run(cluster) == 0
    assert cluster.fake.get("rayservices", "cloud-storage")["spec"] == before, "what is not asked for stays as it was"
    assert not [call for call in cluster.fake.writes if call.startswith("patch")]


def test_another_image_is_refused_and_named(cluster: Stage) -> None:
    run(cluster)
    cluster.fake.calls.clear()
    with pytest.raises(Failure, match="KubeRay would ignore this: ") as raised:
        run(cluster, image="cloud-storage:2")
    path = "headGroupSpec.template.spec.containers[0].image"
    assert f'{path}: "cloud-storage:2" in the RayService, "cloud-storage:0.1.0" running' in str(raised.value)
    assert "python -m kuberay upgrade" in str(raised.value)
    assert cluster.fake.writes == []


def test_another_number_of_buckets_is_refused(cluster: Stage) -> None:
    run(cluster)
    cluster.fake.calls.clear()
    with pytest.raises(
        Failure, match=re.escape("the store has 2 buckets, and --buckets asks for 3: use `python -m kuberay scale 3`")
    ):
        run(cluster, buckets=3)
    assert cluster.fake.writes == []


def test_more_directories_reach_the_running_cluster(cluster: Stage) -> None:
    run(cluster)
    run(cluster, directories=3)
    running = cluster.fake.all("rayclusters")[0]
    assert groups.replicas(running)["directory"] == 3
    assert groups.directories(cluster.fake.get("rayservices", "cloud-storage")) == 3


def test_another_type_of_service_reaches_the_running_service(cluster: Stage) -> None:
    run(cluster)
    run(cluster, service_type="NodePort", node_port=30001, tokens=False)
    service = cluster.fake.get("services", "cloud-storage-serve-svc")
    assert service["spec"]["type"] == "NodePort"
    assert service["spec"]["ports"][0]["nodePort"] == 30001
    run(cluster, service_type="ClusterIP")
    assert cluster.fake.get("services", "cloud-storage-serve-svc")["spec"]["type"] == "ClusterIP"


def test_groups_of_buckets_that_are_gone_stay(cluster: Stage) -> None:
    run(cluster, buckets=3)
    service = cluster.fake.get("rayservices", "cloud-storage")
    lowered = groups.with_bucket_count(groups.with_lowered_groups(service, 2), 2)
    cluster.fake.put("rayservices", lowered)
    cluster.operator.store_count = 2
    run(cluster)
    assert groups.replicas(cluster.fake.get("rayservices", "cloud-storage")) == {
        "directory": 2,
        "bucket-0": 1,
        "bucket-1": 1,
        "bucket-2": 0,
    }


def test_an_upgrade_under_way_is_finished_first(cluster: Stage) -> None:
    run(cluster)
    state = UpgradeState("cloud-storage:2", ["cloud-storage:0.1.0"], "2026-01-01T12:00:00+00:00")
    cluster.fake.get("rayservices", "cloud-storage")["metadata"]["annotations"].update(state.annotation())
    with pytest.raises(Failure, match=r"an upgrade to cloud-storage:2, started 2026-.*upgrade --image cloud-storage:2"):
        run(cluster)


def test_an_annotation_that_nobody_of_ours_wrote_is_said(cluster: Stage) -> None:
    run(cluster)
    cluster.fake.get("rayservices", "cloud-storage")["metadata"]["annotations"]["cloud-storage/upgrade"] = "soon"
    with pytest.raises(Failure, match="the RayService's annotation cloud-storage/upgrade can't be understood: soon"):
        run(cluster)


def test_a_suspended_store_is_said_with_the_way_out(cluster: Stage) -> None:
    run(cluster)
    cluster.fake.get("rayservices", "cloud-storage")["spec"]["suspend"] = True
    with pytest.raises(
        Failure, match=r"the store is suspended: .*kubectl patch rayservice cloud-storage -n cloud-storage"
    ):
        run(cluster)


def test_a_store_that_is_being_deleted_is_said(cluster: Stage) -> None:
    run(cluster)
    cluster.fake.get("rayservices", "cloud-storage")["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    with pytest.raises(Failure, match="is being deleted; deploy again when it is gone"):
        run(cluster)


# -- claims of an earlier store --------------------------------------------------------------------------------------


def claims_of_earlier_store(cluster: Stage, count: int) -> None:
    for bucket_id in range(count):
        labels = {"app.kubernetes.io/name": "cloud-storage", "app.kubernetes.io/component": "bucket"}
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "5Gi"}},
            "storageClassName": "fast",
        }
        metadata = {"name": f"cloud-storage-bucket-{bucket_id}", "labels": labels}
        cluster.fake.put("persistentvolumeclaims", {"metadata": metadata, "spec": spec})


def test_claims_of_an_earlier_store_are_taken_over(cluster: Stage) -> None:
    claims_of_earlier_store(cluster, 3)
    run(cluster)
    assert "There are claims of 3 buckets from an earlier store; they are taken over" in cluster.out.getvalue()
    assert groups.bucket_count(cluster.fake.get("rayservices", "cloud-storage")) == 3
    claim = cluster.fake.get("persistentvolumeclaims", "cloud-storage-bucket-2")
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "5Gi"


def test_fewer_buckets_than_claims_move_the_keys_with_every_bucket_running(cluster: Stage) -> None:
    """The number that the store had is on its volumes: those that it is to give up have to be there first."""
    claims_of_earlier_store(cluster, 3)
    cluster.operator.store_count = 3
    run(cluster, buckets=2)
    assert "That store's keys move to 2 buckets once it is up, so all 3 get a pod" in cluster.err.getvalue()
    assert "`python -m kuberay scale 2` then ends those that are left over" in cluster.err.getvalue()
    service = cluster.fake.get("rayservices", "cloud-storage")
    assert groups.bucket_count(service) == 2
    assert groups.replicas(service)["bucket-2"] == 1
    assert (
        "The store is up with 3 buckets, and its keys move to 2: `python -m kuberay scale 2`" in cluster.out.getvalue()
    )
    run(cluster)  # again, while they move: it stays so
    assert groups.replicas(cluster.fake.get("rayservices", "cloud-storage"))["bucket-2"] == 1
    assert scale(cluster.session, 2, dry_run=False, timeout_s=100.0) == 0
    assert cluster.operator.store_count == 2
    assert groups.replicas(cluster.fake.get("rayservices", "cloud-storage"))["bucket-2"] == 0


def test_more_buckets_than_claims_move_the_keys(cluster: Stage) -> None:
    claims_of_earlier_store(cluster, 2)
    cluster.operator.store_count = 2
    run(cluster, buckets=3)
    assert "That store's keys move to 3 buckets once it is up" in cluster.err.getvalue()
    assert "get a pod" not in cluster.err.getvalue()
    assert groups.bucket_count(cluster.fake.get("rayservices", "cloud-storage")) == 3
    cluster.settle()
    assert cluster.operator.store_count == 3


def test_claims_that_were_given_up_are_said_to_be_used_again(cluster: Stage) -> None:
    claims_of_earlier_store(cluster, 3)
    cluster.operator.store_count = 2
    run(cluster)
    assert "Should that store have had fewer buckets in the end, its keys move to 3." in cluster.out.getvalue()
