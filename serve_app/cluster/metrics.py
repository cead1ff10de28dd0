"""Exporting the store's counts through Ray's own metrics, and so to Prometheus (docs/operations.md lists them).

The hot paths only add to plain integers; a thread hands the differences to Ray every few seconds. Histograms go out as
cumulative counters with a label `le`, the shape that PromQL's `histogram_quantile` reads: handing Ray each sample would
cost more than the operation it measures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import accumulate

from ray.util.metrics import Counter, Gauge

from serve_app import events
from serve_app.bucket.bucket import Bucket
from serve_app.bucket.status import gauges_of
from serve_app.directory.directory import Directory
from serve_app.latency import Histogram

EXPORT_INTERVAL_S = 5.0
PREFIX = "cloud_storage_"


class _CounterOf:
    """A Ray counter fed with totals instead of differences."""

    def __init__(self, name: str, description: str, tags: tuple[str, ...]) -> None:
        self._counter = Counter(PREFIX + name, description=description, tag_keys=tags)
        self._tags = tags
        self._exported: dict[tuple[str, ...], float] = {}

    def set_total(self, total: float, *tags: object) -> None:
        labels = tuple(str(tag) for tag in tags)
        more = total - self._exported.get(labels, 0.0)
        if more > 0:
            self._counter.inc(more, tags=dict(zip(self._tags, labels, strict=True)))
            self._exported[labels] = total


class _HistogramOf:
    """Two counters, `…_bucket` with the label `le` and `…_sum`."""

    def __init__(self, name: str, description: str, tags: tuple[str, ...]) -> None:
        self._buckets = _CounterOf(name + "_bucket", description + ", cumulative by upper bound", (*tags, "le"))
        self._sum = _CounterOf(name + "_sum", description + ", summed up", tags)

    def set(self, histogram: Histogram, *tags: object) -> None:
        for bound, below in zip(histogram.bounds, accumulate(histogram.buckets), strict=True):
            self._buckets.set_total(below, *tags, "+Inf" if bound == float("inf") else f"{bound:g}")
        self._sum.set_total(histogram.total, *tags)


def export_directory(directory: Directory) -> None:
    """Export a directory's counts from a background thread for as long as the process lives."""
    operations = _CounterOf("operations", "Operations answered", ("operation", "bucket"))
    errors = _CounterOf("errors", "Operations refused or of unknown outcome", ("operation", "bucket", "error"))
    seconds = _HistogramOf("operation_seconds", "From routing an operation to its answer", ("operation", "bucket"))
    under_way = Gauge(
        PREFIX + "calls_open", description="Operations sent to a bucket, unanswered", tag_keys=("bucket",)
    )
    waiting = Gauge(PREFIX + "calls_waiting", description="Operations waiting for a bucket", tag_keys=("bucket",))
    connected = Gauge(PREFIX + "bucket_connected", description="1 while connected to it", tag_keys=("bucket",))

    def export() -> None:
        for (operation, bucket_id), histogram in list(directory.stats.latency_s.items()):
            operations.set_total(histogram.count, operation, bucket_id)
            seconds.set(histogram, operation, bucket_id)
        for (operation, bucket_id, error), count in list(directory.stats.errors.items()):
            errors.set_total(count, operation, bucket_id, error)
        for bucket_id, link in list(directory.view.links.items()):
            tags = {"bucket": str(bucket_id)}
            under_way.set(link.calls_open, tags=tags)
            waiting.set(link.calls_waiting, tags=tags)
            connected.set(1 if link.connected else 0, tags=tags)

    _in_background(export)


def export_bucket(bucket: Bucket) -> None:
    """Export a bucket's counts from a background thread for as long as the process lives."""
    name = str(bucket.bucket_id)
    seconds = _HistogramOf("bucket_operation_seconds", "From a request's arrival to its reply", ("operation", "bucket"))
    refused = _CounterOf("bucket_refused", "Operations refused", ("reason", "bucket"))
    group_size = _HistogramOf("group_size", "Writes in a group commit", ("bucket",))
    sync_seconds = _HistogramOf("sync_seconds", "Writing and syncing a group", ("bucket",))
    gauges = {
        field: Gauge(PREFIX + "bucket_" + field, description=description, tag_keys=("bucket",))
        for field, description in (
            ("keys", "Records, exact"),
            ("bytes", "Bytes of keys and records, exact"),
            ("free_bytes", "Space left on the bucket's disk"),
            ("queued_writes", "Writes queued or being synced"),
        )
    }

    def export() -> None:
        for operation, histogram in bucket.stats.latency_s.items():
            seconds.set(histogram, operation, name)
        for reason, count in list(bucket.stats.refused.items()):
            refused.set_total(count, reason, name)
        group_size.set(bucket.stats.writer.group_size, name)
        sync_seconds.set(bucket.stats.writer.sync_s, name)
        for field, value in gauges_of(bucket).items():
            gauges[field].set(value, tags={"bucket": name})

    _in_background(export)


def _in_background(export: Callable[[], None]) -> None:
    def run() -> None:
        while True:
            try:
                export()
            except Exception as error:  # metrics must never take the store down
                events.warning("metrics not exported", error=repr(error))
            time.sleep(EXPORT_INTERVAL_S)

    threading.Thread(target=run, name="metrics", daemon=True).start()
