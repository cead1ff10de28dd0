"""Of all ports of the store's pods, the API's alone is open. tests/kubernetes asks the same of the pods that really run."""

from __future__ import annotations

from typing import Any

import pytest

from kuberay.manifests import REDIS_API_PORT, VARIANTS, Options, render
from tests.kuberay.network import allows
from tests.kuberay.test_manifests import pod_templates

Document = dict[str, Any]
#: Ray's (GCS, dashboard, agent, client), HAProxy's metrics and statistics, a replica's, the data plane's.
OTHER_PORTS = [6379, 8265, 52365, 10001, 9101, 8404, 8500, 30000, 45123]


def pods(variant: str) -> dict[str, Document]:
    return {
        name: {"metadata": {**template["metadata"], "namespace": "cloud-storage"}, "spec": template["spec"]}
        for name, template in pod_templates(render(Options(variant=variant))).items()
    }


def policies(variant: str) -> list[Document]:
    return [each for each in render(Options(variant=variant)) if each["kind"] == "NetworkPolicy"]


STRANGERS = [
    None,
    {"metadata": {"namespace": "cloud-storage", "labels": {"app": "something"}}},
    {"metadata": {"namespace": "elsewhere", "labels": {"app.kubernetes.io/name": "cloud-storage"}}},
    {
        "metadata": {
            "namespace": "elsewhere",
            "labels": {"app.kubernetes.io/name": "cloud-storage", "app.kubernetes.io/component": "head"},
        }
    },
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_reach_the_api_and_nothing_else(variant: str, stranger: Document | None) -> None:
    serving = "head" if variant == "small" else "directory"
    rules = policies(variant)
    for name, pod in pods(variant).items():
        for port in (8000, REDIS_API_PORT):
            assert allows(rules, stranger, pod, port) == (name == serving), name
        for port in OTHER_PORTS:
            assert not allows(rules, stranger, pod, port), f"{name} {port}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_stores_pods_reach_each_other_and_the_head_reaches_redis(variant: str) -> None:
    every = pods(variant)
    rules = policies(variant)
    redis = every.pop("cloud-storage-redis", None)
    for source in every.values():
        for target in every.values():
            assert all(allows(rules, source, target, port) for port in OTHER_PORTS)
    if redis is not None:
        reaching = {name for name, pod in every.items() if allows(rules, pod, redis, 6379)}
        assert reaching == {"head"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_operator_reaches_the_dashboard(variant: str) -> None:
    labels = {"app.kubernetes.io/name": "kuberay-operator"}
    operator = {"metadata": {"namespace": "kuberay-system", "labels": labels}}
    head = pods(variant)["head"]
    assert allows(policies(variant), operator, head, 8265)
    assert not allows(policies(variant), operator, head, 6379)
