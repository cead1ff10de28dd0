"""What ends the benchmark with one sentence."""


class BenchmarkFailed(Exception):
    """`str(failure)` is the sentence to show. No figure is written then: a wrong one is worse than none."""
