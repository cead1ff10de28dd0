"""`scale` while keys move: what it shows, and that it may be interrupted and asked for something else."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Iterator

import pytest
from rich.console import Console

from kuberay.commands.scale import scale
from kuberay.move import SETTLED_S
from serve_app.command_output.failure import Failure
from serve_app.command_output.terminal import Terminal
from tests.kuberay.scaling import after_each_step, deployed, run, running_groups, service_groups
from tests.kuberay.stage import Stage


@pytest.fixture
def cluster() -> Iterator[Stage]:
    with deployed() as made:
        yield made


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_the_move_is_followed(cluster: Stage) -> None:
    run(cluster, 4)
    lines = cluster.out.getvalue().splitlines()
    moving = [line for line in lines if line.startswith("moving keys")]
    until = ", 4/s, until about "
    assert moving[0].startswith(f"moving keys from 2 to 4 buckets: 0 of 20 keys, 0 bytes of 2,000 bytes{until}")
    assert moving[1].startswith(f"moving keys from 2 to 4 buckets: 4 of 20 keys, 400 bytes of 2,000 bytes{until}")
    assert moving[-1].startswith("moving keys from 2 to 4 buckets: 14 of 20 keys")
    assert lines[-1] == "The store has 4 buckets."


def test_on_a_terminal_a_bar_changes_in_place(cluster: Stage) -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=120, force_terminal=True, highlight=False)
    session = dataclasses.replace(cluster.session, terminal=Terminal(console, console))
    looks: list[str] = []

    def look() -> None:  # the console draws at its own pace; ask it for what it would draw
        if session.terminal._status is not None:
            with console.capture() as captured:
                console.print(session.terminal._status.renderable)
            looks.append(captured.get())

    after_each_step(cluster, look)
    assert scale(session, 4, dry_run=False, timeout_s=200.0) == 0
    assert any("moving keys from 2 to 4 buckets" in each and "━" in each and "14 of 20 keys" in each for each in looks)


def test_what_the_move_waits_for_is_shown(cluster: Stage) -> None:
    def go_wrong() -> None:
        if cluster.operator.target_count and not cluster.operator.bucket_errors:
            cluster.operator.bucket_errors[1] = "waiting for a node that offers the resource bucket-1"

    after_each_step(cluster, go_wrong)
    with pytest.raises(Failure, match=r"moving to 4 buckets took longer than 60 s: moving keys from 2 to 4 buckets \("):
        run(cluster, 4, timeout_s=60.0)
    assert "(bucket-1: waiting for a node that offers the resource bucket-1)" in cluster.out.getvalue()
    cluster.operator.bucket_errors.clear()
    cluster.clock.on_sleep = cluster.operator.step
    assert run(cluster, 4) == 0


def test_what_keeps_a_pod_from_running_is_shown_and_waited_out(cluster: Stage) -> None:
    def pods_go() -> None:
        if cluster.operator.target_count == 4:
            cluster.operator.bucket_errors[1] = "away"
            pod = next(
                pod for pod in cluster.fake.all("pods") if pod["metadata"]["labels"].get("ray.io/group") == "bucket-1"
            )
            condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
            pod["status"] = {"phase": "Pending", "conditions": [condition]}

    after_each_step(cluster, pods_go)
    with pytest.raises(Failure, match="took longer than 60 s: bucket-1 fits on no node"):
        run(cluster, 4, timeout_s=60.0)
    assert "warning: bucket-1 fits on no node: 0/1 nodes are available" in cluster.err.getvalue()


def test_a_directory_that_is_behind_does_not_mislead(cluster: Stage) -> None:
    """Every other answer comes from a directory that has not heard of the move, or of its end."""
    stale = cluster.fake.store("topology")
    turns = itertools.count()
    cluster.fake.store = lambda path: stale if next(turns) % 2 else cluster.operator.store(path)
    assert run(cluster, 4) == 0
    assert cluster.operator.store_count == 4
    assert cluster.operator.target_count is None


def test_what_keeps_the_move_from_beginning_is_shown(cluster: Stage) -> None:
    cluster.operator.problem = "waiting: bucket-2 can't join: its storage holds 5 records already"
    with pytest.raises(
        Failure, match=r"took longer than 60 s: waiting for the move to begin .*holds 5 records already"
    ):
        run(cluster, 3, timeout_s=60.0)
    assert "(waiting: bucket-2 can't join: its storage holds 5 records already)" in cluster.out.getvalue()
    cluster.operator.problem = ""
    assert run(cluster, 3) == 0


def test_pods_are_ended_only_when_the_store_has_settled(cluster: Stage) -> None:
    run(cluster, 4)
    ended_s: list[float] = []
    settled_s: list[float] = []

    def watch() -> None:
        if cluster.operator.store_count == 2 and not settled_s:
            settled_s.append(cluster.clock.passed_s)
        if len(cluster.fake.all("pods")) == 6 and not ended_s:
            ended_s.append(cluster.clock.passed_s)

    after_each_step(cluster, watch)
    assert run(cluster, 2) == 0
    assert ended_s[0] - settled_s[0] >= SETTLED_S, "by the fake's clock"


# -- in the middle of a move -----------------------------------------------------------------------------------------


def interrupted(cluster: Stage, count: int) -> None:
    """Start it, and press Ctrl-C when keys have begun to move."""

    def stop() -> None:
        if cluster.operator.target_count:
            raise KeyboardInterrupt

    after_each_step(cluster, stop)
    with pytest.raises(KeyboardInterrupt):
        run(cluster, count)
    cluster.clock.on_sleep = cluster.operator.step


@pytest.mark.parametrize(("before", "after"), [(2, 4), (4, 2)])
def test_a_move_that_was_interrupted_is_followed_again(cluster: Stage, before: int, after: int) -> None:
    run(cluster, before)
    interrupted(cluster, after)
    cluster.fake.calls.clear()
    assert run(cluster, after) == 0
    assert cluster.operator.store_count == after
    assert len(cluster.fake.all("pods")) == 4 + after
    if after > before:
        assert cluster.fake.writes == []


@pytest.mark.parametrize(
    ("before", "asked", "then"), [(2, 4, 3), (2, 4, 2), (4, 2, 3), (4, 2, 4), (2, 3, 4), (3, 2, 1)]
)
def test_another_number_may_be_asked_for_meanwhile(cluster: Stage, before: int, asked: int, then: int) -> None:
    run(cluster, before)
    interrupted(cluster, asked)
    assert run(cluster, then) == 0
    assert cluster.operator.store_count == then
    assert running_groups(cluster) == service_groups(cluster)
    assert len(cluster.fake.all("pods")) == 4 + then
    assert cluster.fake.get("poddisruptionbudgets", "cloud-storage-buckets")["spec"]["minAvailable"] == then - 1
