"""What an operator sees: events in the log, and metrics through Ray's own exporter, every one of them documented."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import httpx
import pytest

from harness.running_store import ROOT, RunningStore
from serve_app.cluster.metrics import PREFIX

pytestmark = pytest.mark.ray


def session_dir(store: RunningStore) -> Path:
    """Where this store's Ray keeps its files."""
    for process in store.processes():
        for argument in process.cmdline():
            if argument.startswith("--session_dir="):
                return Path(argument.partition("=")[2])
    raise AssertionError("no raylet below the launcher")


def metrics(store: RunningStore) -> str:
    """All that Prometheus would scrape from this store's Ray."""
    groups = json.loads((session_dir(store) / "prom_metrics_service_discovery.json").read_text())
    pages = []
    for target in (target for group in groups for target in group["targets"]):
        try:
            pages.append(httpx.get(f"http://{target}/metrics", timeout=10).text)
        except httpx.HTTPError:
            continue  # other components' exporters come and go
    return "\n".join(pages)


def test_every_operation_is_counted_by_bucket(store: RunningStore) -> None:
    with store.client() as client:
        answer = client.put("/put", params={"key": "metered", "value": "v"}).json()
        client.get("/get/metered")
        client.get("/get/not-there-at-all")
        client.delete("/delete/metered")
    bucket = answer["bucket_id"]
    wanted = [
        *(rf'ray_{PREFIX}operations_total{{.*bucket="{bucket}".*operation="{op}"' for op in ("get", "put", "delete")),
        rf'ray_{PREFIX}operation_seconds_bucket_total{{.*bucket="{bucket}".*le="\+Inf".*operation="put"',
        rf'ray_{PREFIX}operation_seconds_sum_total{{.*bucket="{bucket}"',
        rf'ray_{PREFIX}bucket_operation_seconds_bucket_total{{.*bucket="{bucket}"',
        rf'ray_{PREFIX}group_size_bucket_total{{.*bucket="{bucket}"',
        rf'ray_{PREFIX}sync_seconds_bucket_total{{.*bucket="{bucket}"',
        *(
            rf'ray_{PREFIX}bucket_{name}{{.*bucket="{bucket}"'
            for name in ("keys", "bytes", "free_bytes", "queued_writes")
        ),
        *(rf'ray_{PREFIX}{name}{{.*bucket="{bucket}"' for name in ("calls_open", "calls_waiting", "bucket_connected")),
    ]
    deadline_s = time.monotonic() + 60
    while missing := [pattern for pattern in wanted if not re.search(pattern, metrics(store))]:
        assert time.monotonic() < deadline_s, missing
        time.sleep(0.5)


def test_every_metric_is_documented() -> None:
    source = (ROOT / "serve_app" / "cluster" / "metrics.py").read_text()
    documented = (ROOT / "docs" / "operations.md").read_text()
    names = re.findall(r'(?:_CounterOf|_HistogramOf)\(\s*"(\w+)"|Gauge\(\s*PREFIX \+ "(\w+)"', source)
    flat = [counter or gauge for counter, gauge in names]
    assert len(flat) > 8
    assert [name for name in flat if PREFIX + name not in documented] == []


def test_events_are_json_lines_without_a_secret(store: RunningStore) -> None:
    lines = [line[line.index('{"time"') :] for line in store.log.splitlines() if '{"time"' in line]
    events = []
    for line in lines:
        line = re.sub(r"\x1b\[\d+m.*$", "", line)  # Ray adds "[repeated 2x across cluster]"
        events.append(json.loads(line))
    names = {event["event"] for event in events}
    assert {"bucket opened", "bucket connected", "topology known"} <= names
    assert all({"time", "level", "event"} <= set(event) for event in events)
    opened = next(event for event in events if event["event"] == "bucket opened")
    assert {"bucket", "folder", "identity", "keys", "seconds"} <= set(opened)
    # A data-plane token is 64 hex digits; nothing that is logged has that shape.
    assert not re.search(r"\b[0-9a-f]{64}\b", "\n".join(lines))
