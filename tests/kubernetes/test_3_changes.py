"""What changes in place and what KubeRay ignores: the sentences of the design about groups, replicas and drift."""

from __future__ import annotations

import json

from kuberay import groups
from kuberay.manifests import Options, render
from tests.kubernetes.cluster import until
from tests.kubernetes.store import Store


def apply_service(store: Store, service: dict[str, object]) -> None:
    store.kubectl.run("replace", "--filename=-", stdin=json.dumps(service))


def set_live_replicas(store: Store, group: str, count: int) -> None:
    cluster = store.raycluster()
    index = [each["groupName"] for each in groups.worker_groups(cluster)].index(group)
    path = f"/spec/workerGroupSpecs/{index}"
    patch = [{"op": "replace", "path": f"{path}/replicas", "value": count}]
    store.kubectl.run("patch", "raycluster", cluster["metadata"]["name"], "--type=json", f"--patch={json.dumps(patch)}")


def test_an_appended_bucket_restarts_nothing_and_lowered_groups_let_their_pods_go(store: Store) -> None:
    store.wait_until_whole()
    kubectl = store.kubectl
    lives, cluster = store.lives(), store.raycluster()["metadata"]["name"]
    claim = kubectl.get("pvc", "cloud-storage-bucket-0")
    kubectl.run("apply", "--filename=-", stdin=json.dumps(groups.claim_like(claim, 0, 2)))
    apply_service(store, groups.with_bucket_groups(store.rayservice(), 3))
    until(lambda: kubectl.ready("ray.io/group=bucket-2", 1), "the appended group's pod")
    assert store.raycluster()["metadata"]["name"] == cluster, "no second cluster"
    new = store.lives()
    assert {name: new.get(name) for name in lives} == lives, "nothing else was touched"

    # The hash that KubeRay compares leaves out replicas: they are set in the RayService, and on the live RayCluster.
    apply_service(store, groups.with_lowered_groups(store.rayservice(), 2))
    set_live_replicas(store, "bucket-2", 0)
    until(lambda: not kubectl.get("pods", "--selector=ray.io/group=bucket-2")["items"], "the lowered group's pod to go")
    apply_service(store, groups.with_bucket_groups(store.rayservice(), 3))
    set_live_replicas(store, "bucket-2", 1)
    until(lambda: kubectl.ready("ray.io/group=bucket-2", 1), "the raised group's pod")
    apply_service(store, groups.with_lowered_groups(store.rayservice(), 2))
    set_live_replicas(store, "bucket-2", 0)
    until(lambda: not kubectl.get("pods", "--selector=ray.io/group=bucket-2")["items"], "the lowered group's pod to go")
    assert store.lives() == lives
    kubectl.run("delete", "pvc", "cloud-storage-bucket-2")  # a later deploy takes a claim for a bucket that has data


def test_a_changed_bucket_count_reaches_the_running_directories(store: Store) -> None:
    """By hand, and with no pod for the third bucket: the store says what it waits for, and goes on with two."""
    store.wait_until_whole()
    lives = store.lives()
    apply_service(store, groups.with_bucket_count(store.rayservice(), 3))
    until(lambda: "bucket-2" in store.topology()["problem"], "the configuration to arrive, and the move to wait")
    topology = store.topology()
    assert (topology["configured_count"], topology["bucket_count"], topology["phase"]) == (3, 2, "stable")
    apply_service(store, groups.with_bucket_count(store.rayservice(), 2))
    # Each answer may come from another directory.
    until(lambda: all(is_settled(store.topology(), 2) for _ in range(8)), "the old one again")
    assert store.lives() == lives


def is_settled(topology: dict[str, object], count: int) -> bool:
    """Whether a directory is configured with the number of buckets that there are."""
    return (topology["configured_count"], topology["bucket_count"], topology["problem"]) == (count, count, "")


def test_deploying_another_number_of_buckets_points_at_scale(store: Store) -> None:
    said = store.command("deploy", "--buckets", "3", status=1)
    assert "python -m kuberay scale 3" in said
    assert groups.bucket_count(store.rayservice()) == 2


def test_scaling_to_the_number_that_there_is_changes_nothing(store: Store) -> None:
    store.wait_until_whole()
    lives = store.lives()
    assert "The store has 2 buckets." in store.command("scale", "2")
    assert store.lives() == lives


def test_what_kuberay_would_ignore_is_named_and_refused(store: Store) -> None:
    store.wait_until_whole()
    lives = store.lives()
    changed = store.rayservice()
    group = groups.bucket_groups(changed)[0]
    group["template"]["spec"]["containers"][0]["env"].append({"name": "NEW", "value": "1"})
    apply_service(store, changed)
    observed = changed["metadata"]["generation"] + 1
    until(lambda: store.rayservice()["status"]["observedGeneration"] >= observed, "KubeRay to have looked at it")
    assert "NEW" not in json.dumps(store.raycluster()["spec"]), "ignored"
    said = store.command("scale", "2", status=1)
    assert "env" in said
    assert "NEW" in said
    assert "env" in store.command("status"), "and the status warns of it"
    store.command("deploy")  # brings the RayService back to what runs
    assert "NEW" not in json.dumps(store.rayservice()["spec"])
    assert store.lives() == lives


def test_deploying_again_changes_nothing(store: Store) -> None:
    store.wait_until_whole()
    lives = store.lives()
    store.command("deploy")
    assert store.lives() == lives


def test_the_cluster_would_take_every_variant(store: Store) -> None:
    """The API server's own validation, of everything but the namespace, which has to be there for it."""
    for variant in ("default", "small", "recommended"):
        objects = render(Options(namespace=store.kubectl.namespace, variant=variant))
        without = [each for each in objects if each["kind"] not in ("Namespace", "PersistentVolumeClaim")]
        for each in without:
            each["metadata"]["name"] = f"try-{each['metadata']['name']}"
        listed = {"apiVersion": "v1", "kind": "List", "items": without}
        store.kubectl.run("create", "--dry-run=server", "--validate=strict", "--filename=-", stdin=json.dumps(listed))
