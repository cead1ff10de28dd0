"""What a directory counts: operations, their outcomes and latencies, by bucket."""

from __future__ import annotations

from serve_app.latency import Histogram


class DirectoryStats:
    """Counts since the directory started. Written on its loop, read by the exporter's thread."""

    def __init__(self) -> None:
        #: Seconds from routing to answer, by (operation, bucket id).
        self.latency_s: dict[tuple[str, int], Histogram] = {}
        #: Operations that failed, by (operation, bucket id, error class); bucket id -1 where none was reached.
        self.errors: dict[tuple[str, int, str], int] = {}

    def observe(self, operation: str, bucket_id: int, seconds: float) -> None:
        """Count an operation that was answered (a missing key is an answer)."""
        histogram = self.latency_s.get((operation, bucket_id))
        if histogram is None:
            histogram = self.latency_s[operation, bucket_id] = Histogram()
        histogram.observe(seconds)

    def failed(self, operation: str, bucket_id: int, error: Exception) -> None:
        """Count an operation that was refused or whose outcome is unknown."""
        key = (operation, bucket_id, type(error).__name__)
        self.errors[key] = self.errors.get(key, 0) + 1
