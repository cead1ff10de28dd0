"""`logs`: whose, which lines, in which order."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from kuberay.commands.deploy import deploy
from kuberay.commands.logs import logs, seconds
from serve_app.command_output.failure import Failure
from tests.kuberay.stage import Stage, stage


@pytest.fixture
def cluster() -> Iterator[Stage]:
    with stage() as made:
        deploy(made.session, {}, until_ready=True, timeout_s=100.0)
        made.fake.logs = {
            "cloud-storage-1-bucket-0-0": f"ray started\n(BucketActor pid=7) {line(2, 'opened', keys=5)}\n",
            "cloud-storage-1-bucket-1-0": line(1, "opened", keys=6) + "\n" + line(3, "disk_full", "WARNING"),
            "cloud-storage-redis-1": "Ready to accept connections\n",
        }
        made.out.truncate(0)
        made.out.seek(0)
        yield made


def line(second: int, event: str, level: str = "INFO", **fields: object) -> str:
    return json.dumps({"time": f"2026-01-01T12:00:{second:02}.000Z", "level": level, "event": event, **fields})


def run(
    cluster: Stage, what: str = "all", *, follow: bool = False, since: str | None = None, everything: bool = False
) -> None:
    logs(cluster.session, what, follow=follow, since=since, everything=everything)


def shown(cluster: Stage) -> list[str]:
    return cluster.out.getvalue().splitlines()


def test_the_stores_events_come_in_order_without_the_rest(cluster: Stage) -> None:
    run(cluster)
    assert shown(cluster) == [
        "bucket-1  12:00:01 info: opened keys=6",
        "bucket-0  12:00:02 info: opened keys=5",
        "bucket-1  12:00:03 warning: disk_full ",
    ]


def test_one_part_only(cluster: Stage) -> None:
    run(cluster, "bucket-0")
    assert shown(cluster) == ["bucket-0  12:00:02 info: opened keys=5"]
    run(cluster, "directory")


def test_everything_as_it_is(cluster: Stage) -> None:
    run(cluster, everything=True)
    assert "bucket-0  ray started" in shown(cluster)
    assert "redis     Ready to accept connections" in shown(cluster)


def test_following_takes_in_pods_that_come_later(cluster: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended by what stands for Ctrl-C here: the last line."""
    seen = []

    def say(text: str) -> None:
        seen.append(text)
        if len(seen) == 3:
            cluster.fake.remove("pods", "cloud-storage-1-bucket-0-0")
            cluster.operator.step()
            pod = cluster.fake.get("pods", "cloud-storage-1-bucket-0-0")
            pod["metadata"]["uid"] = "new"
            pod["status"] = {"phase": "Running"}
            cluster.fake.logs["cloud-storage-1-bucket-0-0"] = line(9, "opened", keys=7)
        if "keys=7" in text:
            raise KeyboardInterrupt

    monkeypatch.setattr(cluster.session.terminal, "say", say)
    monkeypatch.setattr("kuberay.commands.logs._NEW_PODS_EVERY_S", 0.05)
    with pytest.raises(KeyboardInterrupt):
        run(cluster, follow=True)
    assert sorted(seen)[:1] == ["bucket-0  12:00:02 info: opened keys=5"]
    assert "bucket-0  12:00:09 info: opened keys=7" in seen


@pytest.mark.parametrize(("text", "expected"), [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400)])
def test_durations(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "m", "0s", "1w", "-1m", "1m30s"])
def test_what_is_no_duration_is_said(text: str) -> None:
    with pytest.raises(Failure, match=f"'{text}' is not a duration; write 30s, 10m, 2h or 1d"):
        seconds(text)


@pytest.mark.parametrize("what", ["bucket", "bucket-x", "", "worker"])
def test_what_is_no_part_is_said(cluster: Stage, what: str) -> None:
    with pytest.raises(
        Failure, match=f"there are logs of all, directory, bucket-0 and so on, head and redis, not of '{what}'"
    ):
        run(cluster, what)


def test_a_part_without_pods_is_said(cluster: Stage) -> None:
    with pytest.raises(Failure, match="there are no pods of bucket-7"):
        run(cluster, "bucket-7")


def test_a_log_that_can_not_be_read_is_said(cluster: Stage) -> None:
    cluster.fake.refuse = lambda call: (403, "pods/log is forbidden") if call.startswith("log") else None
    with pytest.raises(
        Failure, match="no permission to read the log of the pod cloud-storage-1-bucket-0-0: pods/log is"
    ):
        run(cluster)
