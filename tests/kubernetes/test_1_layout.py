"""The design's sentences about pods, claims, services and security, looked up on the running store."""

from __future__ import annotations

import json
import re

import pytest

from kuberay.manifests import Options, render
from tests.kuberay.network import allows
from tests.kubernetes import load_pod
from tests.kubernetes.cluster import name_of
from tests.kubernetes.store import RAY_PODS, SERVICE, Store

_LISTENING = """
import psutil
print(*sorted({c.laddr.port for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.ip != "127.0.0.1"}))
"""


def test_the_store_answers_with_every_bucket(store: Store) -> None:
    store.wait_until_whole()
    topology = store.topology()
    assert (topology["bucket_count"], topology["phase"], topology["problem"]) == (2, "stable", "")
    assert [bucket["keys"] for bucket in topology["buckets"]] == [0, 0]


def test_each_bucket_runs_in_the_pod_with_its_claim_and_nowhere_else(store: Store) -> None:
    kubectl = store.kubectl
    for pod in kubectl.pods(RAY_PODS):
        name, group = name_of(pod), pod["metadata"]["labels"]["ray.io/group"]
        claims = [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["spec"]["volumes"]
            if "persistentVolumeClaim" in volume
        ]
        process = store.bucket_process(name)
        if group.startswith("bucket-"):
            assert claims == [f"cloud-storage-{group}"]
            assert len(process.split()) == 1
            assert kubectl.exec(name, "ls", "/data").split() == [group]
        else:
            assert claims == []
            assert process == ""
    for claim in kubectl.get("pvc")["items"]:
        assert claim["status"]["phase"] == "Bound"
        assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_the_serve_service_sends_traffic_to_directories_only(store: Store) -> None:
    slices = store.kubectl.get("endpointslices", f"--selector=kubernetes.io/service-name={SERVICE}")["items"]
    reached = {
        address
        for each in slices
        if any(port.get("port") for port in each.get("ports") or [])
        for endpoint in each["endpoints"]
        for address in endpoint["addresses"]
    }
    directories = {pod["status"]["podIP"] for pod in store.kubectl.pods("ray.io/group=directory")}
    assert len(directories) == 2
    assert reached == directories


def test_pods_run_restricted_and_the_namespace_takes_no_others(store: Store) -> None:
    kubectl = store.kubectl
    level = kubectl.get("namespace", kubectl.namespace)["metadata"]["labels"]
    assert level["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in kubectl.pods(RAY_PODS):
        uid = kubectl.exec(name_of(pod), "id", "-u").strip()
        writable = kubectl.exec(
            name_of(pod), "sh", "-c", "find /opt/cloud-storage -writable -not -type l 2>/dev/null | head -1"
        )
        assert (uid, writable.strip()) == ("1000", "")
    privileged = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged"},
        "spec": {"containers": [{"name": "x", "image": store.image, "securityContext": {"privileged": True}}]},
    }
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        kubectl.run("create", "--filename=-", stdin=json.dumps(privileged))


def test_policies_leave_open_the_serve_port_alone(store: Store) -> None:
    """Judged for the labels that the pods really have and the ports on which they really listen."""
    kubectl = store.kubectl
    policies = kubectl.get("networkpolicies")["items"]
    applied = [each["metadata"]["name"] for each in render(Options()) if each["kind"] == "NetworkPolicy"]
    assert sorted(map(name_of, policies)) == sorted(applied)
    stranger = kubectl.get("pod", load_pod.NAME)
    ray = kubectl.pods(RAY_PODS)
    listened = 0
    for pod in ray:
        ports = {int(port) for port in kubectl.exec(name_of(pod), "python", "-c", _LISTENING).split()}
        listened += len(ports)
        open_ports = {port for port in ports if allows(policies, stranger, pod, port)}
        assert open_ports == ({8000} if pod["metadata"]["labels"]["ray.io/group"] == "directory" else set())
        for other in ray:
            assert all(allows(policies, other, pod, port) for port in ports), "the store itself gets through"
    assert listened > 5 * len(ray), "Ray's own ports were seen"
    redis = kubectl.pod("app.kubernetes.io/component=redis")
    assert not allows(policies, stranger, redis, 6379)


def test_no_secret_is_in_an_object_or_a_log(store: Store) -> None:
    kubectl = store.kubectl
    secrets = [
        each
        for each in kubectl.get("secrets", "--output=json")["items"]
        if set(each["data"]) & {"password", "auth_token"}
    ]
    assert len(secrets) == 2, "Redis's password, and Ray's token"
    template = "{{range .data}}{{. | base64decode}}{{end}}"
    values = [kubectl.run("get", "secret", name_of(each), f"--output=go-template={template}") for each in secrets]
    assert all(len(value) > 30 for value in values)
    places = {"objects": kubectl.run("get", "all,rayservices,rayclusters,configmaps,events", "--output=yaml")}
    for pod in kubectl.get("pods")["items"]:
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
            places[f"{name_of(pod)} {container['name']}"] = kubectl.run(
                "logs", name_of(pod), f"--container={container['name']}"
            )
        if name_of(pod) != load_pod.NAME and "redis" not in name_of(pod):
            files = "cat /tmp/ray/session_latest/logs/* /tmp/ray/session_latest/logs/*/* 2>/dev/null || true"
            places[f"{name_of(pod)} files"] = kubectl.exec(name_of(pod), "sh", "-c", files)
    assert sum(map(len, places.values())) > 10_000
    found = [place for place, text in places.items() if any(value in text for value in values)]
    assert found == []


def test_the_log_tells_of_buckets_and_the_command_shows_it(store: Store) -> None:
    shown = store.command("logs", "bucket-0")
    assert re.search(r"bucket opened.*bucket=0|\"event\": \"bucket opened\"", shown), shown


def test_status_is_one_screen_about_everything(store: Store) -> None:
    shown = store.command("status")
    for pod in store.kubectl.pods(RAY_PODS):
        assert pod["metadata"]["labels"]["ray.io/group"].replace("headgroup", "head") in shown
    for claim in ("cloud-storage-bucket-0", "cloud-storage-bucket-1"):
        assert claim in shown


def test_rays_token_is_asked_for(store: Store) -> None:
    """A client of Ray's without the token is turned away, with it let in."""
    head = f"{store.raycluster()['metadata']['name']}-head-svc.{store.kubectl.namespace}:6379"
    script = f"""
import os
from ray._raylet import GcsClient
try:
    print("nodes", len(GcsClient(address="{head}").get_all_node_info(timeout=10)))
except BaseException as error:
    print("refused", type(error).__name__, error)
"""
    without = "import os; os.environ.pop('RAY_AUTH_TOKEN', None); os.environ['RAY_AUTH_MODE'] = 'disabled'\n"
    wrong = "import os; os.environ['RAY_AUTH_TOKEN'] = 'wrong' * 8; os.environ['RAY_AUTH_MODE'] = 'token'\n"
    directory = name_of(store.kubectl.pods("ray.io/group=directory")[0])

    def ask(pod: str, beginning: str) -> str:
        return store.kubectl.exec(pod, "python", "-", stdin=beginning + script).strip().splitlines()[-1]

    for pod in (load_pod.NAME, directory):
        for beginning in (without, wrong):
            assert ask(pod, beginning).startswith("refused"), (pod, beginning)
    assert ask(directory, "") == "nodes 5"


def test_the_data_plane_asks_for_the_buckets_token(store: Store) -> None:
    """A client that knows everything but the bucket's token is hung up on."""
    script = """
import asyncio, dataclasses
import ray
from serve_app.settings import Limits
from serve_app.wire.connection import HandshakeRefused, connect_tcp, open_connection

ray.init(address="auto", namespace="cloud-storage", log_to_driver=False, logging_level="ERROR")
endpoint = ray.get(ray.get_actor("bucket-0").endpoint.remote()).endpoint

async def greet(endpoint):
    try:
        await open_connection(endpoint, 0, "", Limits(), connect_tcp)
    except HandshakeRefused:
        return "refused"
    return "welcome"

wrong = dataclasses.replace(endpoint, token="0" * len(endpoint.token))
print(asyncio.run(greet(wrong)), asyncio.run(greet(endpoint)))
"""
    directory = name_of(store.kubectl.pods("ray.io/group=directory")[0])
    assert store.kubectl.exec(directory, "python", "-", stdin=script).strip().splitlines()[-1] == "refused welcome"
