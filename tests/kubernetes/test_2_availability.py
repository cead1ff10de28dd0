"""What each failure costs clients, under a steady load from inside the cluster; and that no acknowledged write is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.kubernetes.cluster import name_of, until
from tests.kubernetes.load_pod import Account, load
from tests.kubernetes.report import add_row
from tests.kubernetes.store import Store

#: The load alone, before the failure and after everything is whole again.
_BEFORE_S = 5.0
_AFTER_S = 10.0
_FORCE = ("--force", "--grace-period=0", "--wait=false")
_GRACE = ("--wait=false",)
LEAST_REQUESTS_PER_S = 200
LONGEST_OUTAGE_S = 15.0


class Case:
    """One failure: what was done, and the account of the load around it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.account = Account()
        self.at = 0.0
        self.back_s = 0.0

    def check(self, may_fail: Callable[[dict[str, object]], bool]) -> None:
        """Add the row, then hold the account against what may fail."""
        account = self.account
        add_row(self.name, account, self.at, self.back_s)
        assert account["wrong"] == []
        assert account["unread"] == 0
        assert account["acknowledged"] == account["keys"], "every worker wrote all its keys"
        assert [failure for failure in account.failures if not may_fail(failure)] == []
        # Last, for a slow machine misses this alone, and it must hide nothing.
        assert account["per_second"] >= LEAST_REQUESTS_PER_S


@contextmanager
def failure(store: Store, name: str) -> Iterator[Case]:
    """The load around what is done in here, until the store is whole again."""
    store.wait_until_whole()
    case = Case(name)
    with load(store.kubectl, 2, store.url) as case.account:
        time.sleep(_BEFORE_S)  # the load's own time, not a wait for something
        case.at = time.time()
        yield case
        store.wait_until_whole()
        case.back_s = time.time() - case.at
        time.sleep(_AFTER_S)


def delete(store: Store, selector: str, how: tuple[str, ...]) -> str:
    """Delete one pod; its name."""
    name = name_of(store.kubectl.pods(selector)[0])
    store.kubectl.run("delete", "pod", name, *how)
    return name


def gone(store: Store, pod: str) -> None:
    until(lambda: pod not in map(name_of, store.kubectl.get("pods")["items"]), f"the end of {pod}")


def nothing(failed: dict[str, object]) -> bool:
    return False


def test_nothing_happens(store: Store) -> None:
    with failure(store, "none, to compare with") as case:
        pass
    case.check(nothing)


def test_head_deleted(store: Store) -> None:
    store.wait_until_whole()
    before = [store.bucket_process(name_of(store.bucket_pod(bucket_id))) for bucket_id in range(2)]
    with failure(store, "head pod deleted") as case:
        gone(store, delete(store, "ray.io/node-type=head", _GRACE))
    case.check(nothing)
    after = [store.bucket_process(name_of(store.bucket_pod(bucket_id))) for bucket_id in range(2)]
    assert all(before)
    assert after == before, "no bucket restarted"


def test_head_killed(store: Store) -> None:
    store.wait_until_whole()
    before = [store.bucket_process(name_of(store.bucket_pod(bucket_id))) for bucket_id in range(2)]
    with failure(store, "head pod force-deleted") as case:
        gone(store, delete(store, "ray.io/node-type=head", _FORCE))
    case.check(nothing)
    assert [store.bucket_process(name_of(store.bucket_pod(bucket_id))) for bucket_id in range(2)] == before


def test_directory_deleted(store: Store) -> None:
    with failure(store, "directory pod (of two) deleted") as case:
        gone(store, delete(store, "ray.io/group=directory", _GRACE))
    case.check(nothing)


def test_directory_killed(store: Store) -> None:
    with failure(store, "directory pod (of two) force-deleted") as case:
        gone(store, delete(store, "ray.io/group=directory", _FORCE))
    # Requests in flight there, or sent before the Serve service left it out.
    case.check(lambda failed: float(str(failed["sent"])) < case.at + 10.0)


def test_redis_deleted(store: Store) -> None:
    with failure(store, "Redis pod deleted") as case:
        gone(store, delete(store, "app.kubernetes.io/component=redis", _GRACE))
        until(lambda: store.kubectl.ready("app.kubernetes.io/component=redis", 1), "Redis to be back")
    case.check(nothing)


@pytest.mark.parametrize("bucket_id", [0, 1])
def test_bucket_killed(store: Store, bucket_id: int) -> None:
    with failure(store, f"bucket-{bucket_id}'s pod force-deleted") as case:
        gone(store, delete(store, f"ray.io/group=bucket-{bucket_id}", _FORCE))
    case.check(lambda failed: _of_the_bucket(failed, bucket_id) and _soon_over(failed, case.at))


def test_bucket_and_head_killed(store: Store) -> None:
    with failure(store, "bucket-1's pod and the head pod force-deleted") as case:
        head = delete(store, "ray.io/node-type=head", _FORCE)
        gone(store, delete(store, "ray.io/group=bucket-1", _FORCE))
        gone(store, head)
    case.check(lambda failed: _of_the_bucket(failed, 1))


def _of_the_bucket(failed: dict[str, object], bucket_id: int) -> bool:
    """A key of that bucket, refused with 503, or a write that was in flight."""
    return failed["bucket"] == bucket_id and (
        failed["status"] == "503" or (failed["status"] == "504" and failed["method"] == "PUT")
    )


def _soon_over(failed: dict[str, object], at: float) -> bool:
    return float(str(failed["ended"])) < at + LONGEST_OUTAGE_S
