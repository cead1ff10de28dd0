"""What a bucket counts about itself, for whoever exports it (cluster/metrics.py does, to Ray)."""

from __future__ import annotations

from serve_app.latency import Histogram
from serve_app.operations import OPERATIONS
from serve_app.storage.committer import WriterStats


class BucketStats:
    """Counts since the bucket started. Written by the bucket's own threads, read by the exporter's."""

    def __init__(self) -> None:
        self.writer = WriterStats()
        #: Seconds from a call's arrival to its reply, by operation.
        self.latency_s = {operation.name: Histogram() for operation in OPERATIONS}
        #: Replies that refused, by reason.
        self.refused: dict[str, int] = {}

    def count_refusal(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
