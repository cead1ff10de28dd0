"""What a bucket counts about itself, for whoever exports it (cluster/metrics.py does, to Ray)."""

from __future__ import annotations

from serve_app.latency import Histogram
from serve_app.storage.committer import WriterStats


class BucketStats:
    """Counts since the bucket started. Written by the bucket's own threads, read by the exporter's."""

    def __init__(self) -> None:
        self.writer = WriterStats()
        #: Seconds from a request's arrival to its reply, by operation.
        self.latency_s = {"get": Histogram(), "put": Histogram(), "delete": Histogram()}
        #: Replies that refused, by reason.
        self.refused: dict[str, int] = {}

    def count_refusal(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
