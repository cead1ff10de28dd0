"""`scale` on a store of two buckets that a fake cluster runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kuberay import groups
from kuberay.commands.deploy import deploy
from kuberay.commands.scale import scale
from tests.kuberay.stage import Stage, stage


@contextmanager
def deployed() -> Iterator[Stage]:
    """A cluster with the store deployed, and no calls counted yet."""
    with stage() as made:
        deploy(made.session, {"buckets": 2}, until_ready=True, timeout_s=100.0)
        made.fake.calls.clear()
        yield made


def run(cluster: Stage, count: int, *, dry_run: bool = False, timeout_s: float = 200.0) -> int:
    """Type `scale count`."""
    return scale(cluster.session, count, dry_run=dry_run, timeout_s=timeout_s)


def after_each_step(cluster: Stage, do: Callable[[], None]) -> None:
    """Have the cluster do its part whenever the command waits, and then something more."""

    def step() -> None:
        cluster.operator.step()
        do()

    cluster.clock.on_sleep = step


def service_groups(cluster: Stage) -> dict[str, int]:
    """How many pods each group of the RayService asks for."""
    return groups.replicas(cluster.fake.get("rayservices", "cloud-storage"))


def running_groups(cluster: Stage) -> dict[str, int]:
    """How many pods each group of the RayCluster asks for."""
    return groups.replicas(cluster.fake.all("rayclusters")[0])
