"""What a bucket counts about itself, for whoever exports it (cluster/metrics.py does, to Ray)."""

from __future__ import annotations

from serve_app.latency import Histogram
from serve_app.operations import OPERATIONS
from serve_app.storage.committer import WriterStats
from serve_app.wire.messages import Batch


class BucketStats:
    """Counts since the bucket started. Written by the bucket's own threads, read by the exporter's."""

    def __init__(self) -> None:
        self.writer = WriterStats()
        #: Seconds from a call's arrival to its reply, by operation.
        self.latency_s = {name: Histogram() for name in (*(operation.name for operation in OPERATIONS), Batch.name)}
        #: Replies that refused, by reason.
        self.refused: dict[str, int] = {}

    def count_refusal(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
