"""What clients of two keys have seen, and whether any order explains it."""

from __future__ import annotations


class History:
    """Of single writes with values that are never written twice: 0 is what was there at first."""

    def __init__(self) -> None:
        self.last_value = 0
        #: By key: values whose write is known to have happened, since it was answered or read.
        self._seen: dict[bytes, set[int]] = {}
        #: By key and value: values that were seen before it was begun, or before a read of it was.
        self._before: dict[tuple[bytes, int], set[int]] = {}
        self.problem = ""

    def seen(self, key: bytes) -> frozenset[int]:
        """What has happened by now."""
        return frozenset(self._seen.setdefault(key, {0}))

    def begin(self, key: bytes) -> int:
        """A write begins: its value."""
        self.last_value += 1
        self._order(key, self.last_value, self.seen(key))
        return self.last_value

    def answer(self, key: bytes, value: int) -> None:
        """A write was answered."""
        self._seen.setdefault(key, {0}).add(value)

    def read(self, key: bytes, value: int, seen: frozenset[int]) -> None:
        """A read was answered with this value. seen: when it began."""
        self._order(key, value, seen)
        self.answer(key, value)

    def _order(self, key: bytes, value: int, earlier: frozenset[int]) -> None:
        before = self._before.setdefault((key, value), set())
        before |= earlier - {value}
        for other in before:
            if value in self._before.get((key, other), ()):
                self.problem = f"{value} and {other} of {key!r} were each there before the other"
