"""Buckets as Ray actors, on several local nodes: pinned to their own, replaced when what they are made from changes."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from serve_app.cluster import control_plane as control_plane_module
from serve_app.cluster.bucket_actor import BucketActor
from serve_app.cluster.build import Build, build_of
from serve_app.cluster.control_plane import RayControlPlane
from serve_app.cluster.endpoint_answer import EndpointAnswer
from serve_app.directory.directory import Directory
from serve_app.errors import Unavailable
from serve_app.settings import NAMESPACE, Limits, Settings
from serve_app.wire.link import BucketFault
from tests.support.asking import get, put
from tests.support.local_store import until
from tests.support.memory import maps_large_blocks_alone
from tests.support.waiting import until as wait_until

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that offers no bucket, and a node for each of buckets 0 and 1. Bucket 2's comes in a test."""
    cluster = Cluster()
    cluster.add_node(num_cpus=1, include_dashboard=False)
    for bucket_id in (0, 1):
        cluster.add_node(num_cpus=0, resources={f"bucket-{bucket_id}": 1})
    ray.init(address=cluster.address, log_to_driver=False, namespace="tests")
    yield cluster
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture(autouse=True)
def nodes_have_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_plane_module, "JOINED_S", 0.5)


@pytest.fixture(autouse=True)
def no_buckets_left(cluster: Cluster) -> Iterator[None]:
    yield
    for bucket_id in range(4):
        try:
            ray.kill(ray.get_actor(f"bucket-{bucket_id}", namespace=NAMESPACE), no_restart=True)
        except ValueError:
            continue
        wait_until(lambda bucket_id=bucket_id: not exists(bucket_id))  # type: ignore[misc]


def exists(bucket_id: int) -> bool:
    try:
        ray.get_actor(f"bucket-{bucket_id}", namespace=NAMESPACE)
    except ValueError:
        return False
    return True


def build(folder: Path, **settings: Any) -> Build:
    limits = settings.pop("limits", Limits(request_timeout_s=30))
    loopback_host = settings.pop("loopback_host", "")
    return build_of(Settings(data_dir=folder, limits=limits, **settings), loopback_host)


def in_actor(bucket_id: int, function: Callable[[], Any]) -> Any:
    """Run a function in a bucket's process."""
    actor = ray.get_actor(f"bucket-{bucket_id}", namespace=NAMESPACE)
    return ray.get(actor.__ray_call__.remote(lambda _self: function()), timeout=20)


def pid_of(bucket_id: int) -> int:
    return int(in_actor(bucket_id, os.getpid))


def node_of(bucket_id: int) -> str:
    return str(in_actor(bucket_id, lambda: ray.get_runtime_context().get_node_id()))


@asynccontextmanager
async def directory_on(made_from: Build, bucket_count: int) -> AsyncIterator[Directory]:
    directory = Directory(RayControlPlane(made_from, BucketActor), made_from.settings.limits)
    directory.configuration.follow(bucket_count)
    await directory.start()
    try:
        yield directory
    finally:
        await directory.stop()


def test_each_bucket_runs_on_the_node_that_offers_it(cluster: Cluster, tmp_path: Path) -> None:
    async def check() -> None:
        async with directory_on(build(tmp_path, pin_buckets=True), 2) as directory:
            for number in range(20):
                await put(directory, b"key%d" % number, b"v", "")

    asyncio.run(check())
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    offering = {name: node["NodeID"] for node in nodes for name in node["Resources"] if name.startswith("bucket-")}
    assert {f"bucket-{bucket_id}": node_of(bucket_id) for bucket_id in (0, 1)} == offering
    assert len(set(offering.values())) == 2


def test_a_bucket_without_its_node_is_waited_for_by_name(cluster: Cluster, tmp_path: Path) -> None:
    async def check() -> None:
        made_from = build(tmp_path, pin_buckets=True, limits=Limits(request_timeout_s=1.0))
        async with directory_on(made_from, 3) as directory:
            await until(lambda: "resource bucket-2" in directory.what_is_missing(), 20)
            with pytest.raises(Unavailable, match="a node that offers the resource bucket-2"):
                await get(directory, b"key")
            assert not exists(2), "made now it would look like a bucket that is away with its data"
            cluster.add_node(num_cpus=0, resources={"bucket-2": 1})
            await until(lambda: directory.view.topology is not None, 30)
            for number in range(20):
                await put(directory, b"key%d" % number, b"v", "")

    asyncio.run(check())


def test_buckets_take_changed_settings_and_are_not_turned_back(cluster: Cluster, tmp_path: Path) -> None:
    async def check() -> None:
        old = build(tmp_path)
        async with directory_on(old, 1) as first:
            await put(first, b"key", b"v", "")
            before = pid_of(0)
            new = build(tmp_path, limits=Limits(request_timeout_s=30, max_value_bytes=1000))
            assert new.fingerprint != old.fingerprint
            async with directory_on(new, 1) as second:
                assert await get(second, b"key") == b"v"
                after = pid_of(0)
                assert after != before
                # The old directory lost its connection, finds the new bucket, and leaves it as it is.
                assert await get(first, b"key") == b"v"
                async with directory_on(old, 1) as late:
                    assert await get(late, b"key") == b"v"
                assert pid_of(0) == after

    asyncio.run(check())


def test_the_same_settings_replace_nothing(cluster: Cluster, tmp_path: Path) -> None:
    async def check() -> None:
        async with directory_on(build(tmp_path), 1) as directory:
            await put(directory, b"key", b"v", "")
        before = pid_of(0)
        async with directory_on(build(tmp_path), 1) as directory:  # built later, from the same
            assert await get(directory, b"key") == b"v"
        assert pid_of(0) == before

    asyncio.run(check())


def test_directories_that_start_at_once_share_the_buckets(cluster: Cluster, tmp_path: Path) -> None:
    async def check() -> None:
        made_from = build(tmp_path)
        planes = [RayControlPlane(made_from, BucketActor) for _ in range(4)]
        found = await asyncio.gather(*(plane.resolve(bucket_id) for plane in planes for bucket_id in (0, 1)))
        assert len({endpoint.incarnation for endpoint in found}) == 2

    asyncio.run(check())


def test_buckets_are_told_of_by_their_actors_and_by_the_nodes_that_are_there_for_them(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A directory that starts counts on it: none of them is left out when a store is founded."""

    async def check() -> None:
        pinned = RayControlPlane(build(tmp_path, pin_buckets=True), BucketActor)
        free = RayControlPlane(build(tmp_path), BucketActor)
        with pytest.raises(Unavailable, match="nodes may still be joining"):
            await pinned.ids()
        await asyncio.sleep(control_plane_module.JOINED_S)
        of_nodes = await pinned.ids()
        assert {0, 1} <= set(of_nodes) <= {0, 1, 2}, "bucket 2 has a node after another test"
        assert await free.ids() == []
        await free.resolve(3)
        os.kill(pid_of(3), signal.SIGKILL)  # one that comes back is there
        assert (await pinned.ids(), await free.ids()) == ([*of_nodes, 3], [3])

    asyncio.run(check())


def test_a_killed_bucket_comes_back_with_a_fresh_token(cluster: Cluster, tmp_path: Path) -> None:
    async def check() -> None:
        made_from = build(tmp_path)
        plane = RayControlPlane(made_from, BucketActor)
        async with directory_on(made_from, 1) as directory:
            await put(directory, b"key", b"v", "")
            before = await plane.resolve(0)
            os.kill(pid_of(0), signal.SIGKILL)
            assert await get(directory, b"key") == b"v"
            after = await plane.resolve(0)
            assert after.token != before.token
            assert after.incarnation != before.incarnation
            assert before.token not in repr(before)

    asyncio.run(check())


def test_a_fault_of_the_storage_is_what_the_directory_says(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "bucket-0").mkdir()
    (tmp_path / "bucket-0" / "stranger.txt").touch()

    async def check() -> None:
        async with directory_on(build(tmp_path, limits=Limits(request_timeout_s=1.0)), 2) as directory:
            await until(lambda: "stranger.txt" in directory.what_is_missing(), 30)
            with pytest.raises(Unavailable, match=r"stranger\.txt"):
                await get(directory, b"key")

    asyncio.run(check())


def on_another_node(made_from: Build) -> None:
    """Make bucket 0 on its own node, as if Serve ran where the API is on loopback and one node was all there was."""
    options = {"name": "bucket-0", "namespace": NAMESPACE, "lifetime": "detached", "resources": {"bucket-0": 1}}
    ray.remote(BucketActor).options(**options, num_cpus=0, max_concurrency=4).remote(0, made_from)


def test_a_bucket_on_loopback_opens_to_a_directory_on_another_node(cluster: Cluster, tmp_path: Path) -> None:
    async def check() -> None:
        made_from = build(tmp_path, loopback_host="127.0.0.1")
        on_another_node(made_from)
        assert node_of(0) != ray.get_runtime_context().get_node_id()
        actor = ray.get_actor("bucket-0", namespace=NAMESPACE)
        asked: Any = actor.endpoint.remote()
        before: EndpointAnswer = ray.get(asked, timeout=20)
        assert before.endpoint is not None
        assert before.endpoint.address[0] == "127.0.0.1"
        first = await RayControlPlane(made_from, BucketActor).resolve(0)
        assert first.address[0] != "127.0.0.1", "there its token would be shown to whoever listens on that port here"
        async with directory_on(made_from, 1) as directory:
            await put(directory, b"key", b"v", "")
        endpoint = await RayControlPlane(made_from, BucketActor).resolve(0)
        assert endpoint.address[0] == ray.util.get_node_ip_address() != "127.0.0.1"
        assert endpoint.incarnation == before.endpoint.incarnation, "it goes on, and who is connected stays so"
        again = await RayControlPlane(made_from, BucketActor).resolve(0)
        assert again == endpoint

    asyncio.run(check())


def test_of_a_replaced_bucket_the_new_actor_is_asked_to_open(cluster: Cluster, tmp_path: Path) -> None:
    """It says that it may not, which the one before would not: that is gone."""
    settings: dict[str, Any] = {"pin_buckets": True, "data_plane_host": "loopback"}
    on_another_node(build(tmp_path, log_level="WARNING", **settings))
    pid = pid_of(0)
    with pytest.raises(BucketFault, match=r"its own node alone, as args\.data_plane_host says"):
        asyncio.run(RayControlPlane(build(tmp_path, **settings), BucketActor).resolve(0))
    assert pid_of(0) != pid


def test_a_buckets_process_keeps_its_files_to_its_user_and_gives_large_blocks_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    """As where Serve is started by other means than `make run`: the nodes here have the umask of the tests."""

    async def check() -> None:
        async with directory_on(build(tmp_path), 1) as directory:
            await put(directory, b"key", b"v", "")
            assert in_actor(0, maps_large_blocks_alone)

    asyncio.run(check())
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "bucket-0").rglob("*")}
    assert tmp_path / "bucket-0" / "db" / "CURRENT" in found
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o077} == {}


def test_a_bucket_that_is_to_stay_on_loopback_says_so_to_other_nodes(cluster: Cluster, tmp_path: Path) -> None:
    made_from = build(tmp_path, data_plane_host="loopback")
    on_another_node(made_from)
    with pytest.raises(BucketFault, match=r"its own node alone, as args\.data_plane_host says"):
        asyncio.run(RayControlPlane(made_from, BucketActor).resolve(0))
