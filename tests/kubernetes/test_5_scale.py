"""Another number of buckets under load: 2 → 4 → 3, with a bucket's pod killed in the one move, and the head's in the other.

The buckets are told to move slowly, so that there is a middle to kill something in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from kuberay import groups
from tests.kubernetes.cluster import name_of, until
from tests.kubernetes.load_pod import Account, fill, load
from tests.kubernetes.report import add_row
from tests.kubernetes.store import Store

RECORDS = 5_000
VALUE_BYTES = 4_096
#: Of 20 MiB in two buckets half moves to four: some 27 s.
MOVE_BYTES_PER_S = 192 * 1024
#: A bucket whose pod is killed is back within that, also where it is moving its keys.
LONGEST_OUTAGE_S = 30.0
LEAST_REQUESTS_PER_S = 150
_FORCE = ("--force", "--grace-period=0", "--wait=false")
_SCALE_TIMEOUT_S = 400.0


@pytest.fixture(scope="module")
def slow_store(store: Store) -> Store:
    """The store with many records, and buckets that move them slowly."""
    store.wait_until_whole()
    before = [store.bucket_process(name_of(store.bucket_pod(bucket_id))) for bucket_id in range(2)]
    service = store.rayservice()
    configuration = yaml.safe_load(service["spec"]["serveConfigV2"])
    configuration["applications"][0]["args"]["limits"] = {"move_bytes_per_s": MOVE_BYTES_PER_S}
    service["spec"]["serveConfigV2"] = yaml.safe_dump(configuration, sort_keys=False)
    store.kubectl.run("replace", "--filename=-", stdin=yaml.safe_dump(service))

    def replaced(bucket_id: int) -> bool:
        return store.bucket_process(name_of(store.bucket_pod(bucket_id))) not in ("", before[bucket_id])

    until(lambda: replaced(0) and replaced(1), "the buckets to be replaced, with the new limit", timeout_s=180)
    store.wait_until_whole()
    assert fill(store.kubectl, store.url, "put", RECORDS, VALUE_BYTES) == {"good": RECORDS, "bad": []}
    return store


def topology(store: Store) -> dict[str, Any]:
    """What a directory says; empty while none answers."""
    try:
        return store.topology()
    except AssertionError:
        return {}


def in_the_middle(store: Store, before: int, after: int) -> bool:
    """Whether keys are on the move, some have moved already, and many have not."""
    seen = topology(store)
    if not seen or (seen["bucket_count"], seen["target_count"], seen["phase"]) != (before, after, "moving"):
        return False
    moved = sum(bucket["moved"] or 0 for bucket in seen["buckets"])
    remaining = sum(bucket["remaining"] or 0 for bucket in seen["buckets"])
    return bool(0 < moved < remaining)


def kill(store: Store, selector: str) -> float:
    """Force-delete one pod, and wait until it is gone; the time at which it was deleted."""
    name, at = name_of(store.kubectl.pods(selector)[0]), time.time()
    store.kubectl.run("delete", "pod", name, *_FORCE)
    until(lambda: name not in map(name_of, store.kubectl.get("pods")["items"]), f"the end of {name}")
    return at


def moved_under_load(store: Store, before: int, after: int, killed: str) -> tuple[Account, float, str]:
    """Scale, and kill a pod in the middle: the load's account, when the pod was killed, what the command printed."""
    store.wait_until_whole(before)
    with load(store.kubectl, 0, store.url) as account:
        with store.command_under_way("scale", str(after), timeout_s=_SCALE_TIMEOUT_S) as printed:
            until(lambda: in_the_middle(store, before, after), "the middle of the move", timeout_s=240, pause_s=0.1)
            at = kill(store, killed)
            assert topology(store).get("phase") in ("moving", None), "it was the middle"
        store.wait_until_whole(after)
        back_s = time.time() - at
    add_row(f"{before} to {after} buckets, `{killed}` force-deleted meanwhile", account, at, back_s)
    return account, at, printed[0]


def check(store: Store, account: Account, may_fail: Callable[[dict[str, Any]], bool], buckets: int) -> None:
    """Nothing is lost, nothing failed that may not, every key is where it belongs."""
    assert account["wrong"] == []
    assert account["unread"] == 0
    assert account["acknowledged"] == account["keys"], "every worker wrote all its keys"
    assert [failure for failure in account.failures if not may_fail(failure)] == []
    assert fill(store.kubectl, store.url, "check", RECORDS, VALUE_BYTES) == {"good": RECORDS, "bad": []}
    seen = store.topology()
    assert (seen["bucket_count"], seen["phase"], seen["problem"]) == (buckets, "stable", "")
    directory = name_of(store.kubectl.pods("ray.io/group=directory")[0])
    said = store.kubectl.exec(directory, "python", "-m", "serve_app", "verify", timeout_s=120)
    assert "every count is exact" in said
    # Last, for a slow machine misses this alone, and it must hide nothing.
    assert account["per_second"] >= LEAST_REQUESTS_PER_S


def test_growing_goes_on_when_a_buckets_pod_is_killed(slow_store: Store) -> None:
    store = slow_store
    cluster = store.raycluster()["metadata"]["name"]
    account, at, said = moved_under_load(store, 2, 4, "ray.io/group=bucket-1")

    def may_fail(failed: dict[str, Any]) -> bool:
        """A key of the killed bucket: refused, or a write that was in flight. Which keys it has changes meanwhile."""
        refused = failed["status"] == "503" or (failed["status"] == "504" and failed["method"] == "PUT")
        return refused and bool(at <= failed["ended"] <= at + LONGEST_OUTAGE_S)

    check(store, account, may_fail, 4)
    assert "moving keys from 2 to 4 buckets" in said
    assert "The store has 4 buckets." in said
    assert store.raycluster()["metadata"]["name"] == cluster, "in place"
    assert store.kubectl.get("pdb", "cloud-storage-buckets")["spec"]["minAvailable"] == 3


def test_shrinking_goes_on_when_the_head_pod_is_killed(slow_store: Store) -> None:
    store = slow_store
    account, _, said = moved_under_load(store, 4, 3, "ray.io/node-type=head")
    check(store, account, lambda failed: False, 3)
    assert "The claims cloud-storage-bucket-3 are kept" in said
    assert not store.kubectl.get("pods", "--selector=ray.io/group=bucket-3")["items"]
    assert groups.replicas(store.raycluster())["bucket-3"] == 0
    claims = {name_of(claim) for claim in store.kubectl.get("pvc")["items"]}
    assert "cloud-storage-bucket-3" in claims
    assert store.kubectl.get("pdb", "cloud-storage-buckets")["spec"]["minAvailable"] == 2
