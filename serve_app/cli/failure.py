"""What ends a command with one sentence instead of a traceback."""


class Failure(Exception):
    """`str(failure)` is the sentence to show."""
