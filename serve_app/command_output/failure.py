"""What ends a command with one sentence instead of a traceback."""


class Failure(Exception):
    """`str(failure)` is the sentence to show. must_end: something goes on that only SIGKILL ends, so the process must
    not wait for it."""

    def __init__(self, sentence: str, *, must_end: bool = False) -> None:
        super().__init__(sentence)
        self.must_end = must_end
