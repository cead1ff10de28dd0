"""What is stored: keys as YCSB names them, and values that say whose they are and how often they were modified."""

from __future__ import annotations

import random

from cloud_storage.commands.bench.distributions import fnv64

#: YCSB's ten fields of 100 bytes.
DEFAULT_BYTES = 1000
#: A value has a head, and something behind it.
LEAST_BYTES = 64
_DIGITS = 12


class Values:
    """Values of one size. A head of theirs has the record's name and a count; what is behind it is drawn at random."""

    def __init__(self, size: int, source: random.Random) -> None:
        self._size = size
        self._source = source
        # Drawn once: a generator of a thousand bytes for each value would be what is measured.
        self._noise = source.randbytes(4 * size)

    def make(self, number: int, count: int) -> bytes:
        """A value of a record that was modified so often."""
        head = f"{name(number)} {count:0{_DIGITS}} ".encode()
        start = self._source.randrange(3 * self._size)
        return (head + self._noise[start : start + self._size])[: self._size]

    def count(self, number: int, value: bytes) -> int:
        """How often it was modified. Raises ValueError: it is no value of this record."""
        head = name(number).encode() + b" "
        if len(value) != self._size or not value.startswith(head):
            raise ValueError(f"{name(number)} has a value that was never stored there")
        return int(value[len(head) : len(head) + _DIGITS])


def name(number: int) -> str:
    """The key of a record, without the prefix: scattered, so that neighbours in time are none in order."""
    return f"user{fnv64(number)}"
