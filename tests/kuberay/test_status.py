"""`status`: everything on one screen, also when much of it is missing."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.table import Table

from kuberay.commands.deploy import deploy
from kuberay.commands.status import status
from kuberay.upgrade_state import UpgradeState
from serve_app.command_output.failure import Failure
from serve_app.command_output.terminal import Terminal
from tests.kuberay.stage import Stage, stage


@pytest.fixture
def cluster() -> Iterator[Stage]:
    with stage() as made:
        deploy(made.session, {}, until_ready=True, timeout_s=100.0)
        made.out.truncate(0)
        made.out.seek(0)
        made.fake.calls.clear()
        yield made


def shown(cluster: Stage) -> str:
    assert status(cluster.session) == 0
    assert cluster.fake.writes == []
    return cluster.out.getvalue()


def test_all_of_it_is_there(cluster: Stage) -> None:
    screen = shown(cluster)
    assert "RayService cloud-storage in the namespace cloud-storage: ready" in screen
    assert "image      cloud-storage:0.1.0" in screen
    assert "topology   2 buckets, epoch 1, stable" in screen
    lines = [line.split() for line in screen.splitlines()]
    assert ["bucket-1", "ready", "0", "node-1", "cloud-storage-1-bucket-1-0"] in lines
    volume = ["cloud-storage-bucket-1", "pv-cloud-storage-bucket-1", "1Gi"]
    assert ["bucket-1", "yes", "10", "1,000", *volume] in lines
    assert ["directory", "ready", "0", "node-1", "cloud-storage-1-directory-1"] in lines
    assert ["redis", "ready", "0", "node-1", "cloud-storage-redis-1"] in lines
    assert cluster.err.getvalue() == ""


def test_what_is_wrong_is_a_warning(cluster: Stage) -> None:
    cluster.operator.bucket_errors[1] = "the volume is empty"
    cluster.operator.problem = "configured for 3 buckets, and there are 2"
    service = cluster.fake.get("rayservices", "cloud-storage")
    service["spec"]["rayClusterConfig"]["rayVersion"] = "9"
    state = UpgradeState("x:2", ["x:1"], "2026-01-01T12:00:00+00:00")
    service["metadata"]["annotations"].update(state.annotation())
    screen = shown(cluster)
    assert ["bucket-1", "no", "?", "?"] in [line.split()[:4] for line in screen.splitlines()]
    warnings = cluster.err.getvalue()
    assert "warning: bucket-1: the volume is empty" in warnings
    assert "warning: configured for 3 buckets" in warnings
    assert 'KubeRay ignores a change of the RayService: rayVersion: "9" in the RayService' in warnings
    assert "an upgrade to x:2, started" in warnings


def test_a_store_that_does_not_answer_is_still_shown(cluster: Stage) -> None:
    cluster.fake.remove("services", "cloud-storage-serve-svc")
    cluster.fake.remove("pods", "cloud-storage-1-bucket-1-0")
    cluster.fake.remove("persistentvolumeclaims", "cloud-storage-bucket-1")
    screen = shown(cluster)
    assert "topology   unknown: no endpoints available for service" in screen
    assert "the service cloud-storage-serve-svc is not there yet" in screen
    lines = [line.split() for line in screen.splitlines()]
    assert ["bucket-1", "missing"] in lines
    assert ["bucket-1", "?", "cloud-storage-bucket-1", "no", "such", "claim"] in lines


def test_who_may_not_ask_the_store_sees_the_rest(cluster: Stage) -> None:
    cluster.fake.refuse = lambda call: (403, "services/proxy is forbidden") if call.startswith("ask") else None
    assert "topology   unknown: no permission to ask the store" in shown(cluster)


def test_who_may_not_see_events_sees_the_rest(cluster: Stage) -> None:
    cluster.fake.refuse = lambda call: (403, "events is forbidden") if call == "list events" else None
    assert "2 buckets, epoch 1, stable" in shown(cluster)


def test_a_move_is_shown(cluster: Stage) -> None:
    cluster.operator.target_count = 3
    assert "topology   2 buckets, epoch 1, moving to 3" in shown(cluster)


@pytest.mark.parametrize("conditions", [{"Suspending": True}, {"Suspended": True}, {"Ready": False}])
def test_the_state_in_a_word(cluster: Stage, conditions: dict[str, bool]) -> None:
    cluster.operator._set(cluster.fake.get("rayservices", "cloud-storage"), **conditions)
    word = next(iter(conditions)).lower() if conditions.get("Ready") is None else "not ready"
    assert f"cloud-storage: {word}" in shown(cluster)


def test_a_store_that_kuberay_has_not_seen(cluster: Stage) -> None:
    cluster.fake.get("rayservices", "cloud-storage").pop("status")
    assert "not looked at by KubeRay yet" in shown(cluster)


def test_a_store_that_is_being_deleted(cluster: Stage) -> None:
    cluster.fake.get("rayservices", "cloud-storage")["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    assert "being deleted" in shown(cluster)


def test_without_a_store_it_says_so(cluster: Stage) -> None:
    cluster.fake.remove("rayservices", "cloud-storage")
    with pytest.raises(Failure, match="there is no store in the namespace cloud-storage"):
        status(cluster.session)


def test_a_store_that_goes_while_it_is_looked_at(cluster: Stage) -> None:
    def gone(call: str) -> None:
        if cluster.fake.calls.count("get rayservices/cloud-storage") == 2:
            cluster.fake.remove("rayservices", "cloud-storage")

    cluster.fake.refuse = gone
    with pytest.raises(Failure, match="the store was deleted just now"):
        status(cluster.session)


def test_tables_are_never_cut(cluster: Stage) -> None:
    """Also where the output is no terminal, which rich takes for 80 columns wide."""
    narrow = io.StringIO()
    table = Table("name")
    table.add_row("x" * 300)
    Terminal(Console(file=narrow, width=80)).draw(table)
    assert "x" * 300 in narrow.getvalue()
