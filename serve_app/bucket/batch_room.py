"""How much the answers of one batch may hold together: they leave in one message, and are in memory until then."""

from __future__ import annotations

from typing import TypeVar

from serve_app.operations.body import Answer
from serve_app.wire.messages import Refused

#: Bytes of values; what is beyond is refused, for it fits into no message.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
_TOO_LARGE = Refused("too-large", "the answers of this batch hold too many bytes: ask for this key alone")
T = TypeVar("T")


class Room:
    """What of it is left."""

    def __init__(self) -> None:
        self.size = self._left = MAX_ANSWER_BYTES

    def fit(self, answer: T) -> T | Refused:
        """The answer, or that there is no room for it. A smaller one may still fit then."""
        size = answer.payload_bytes if isinstance(answer, Answer) else 0
        if size > self._left:
            return _TOO_LARGE
        self._left -= size
        return answer
