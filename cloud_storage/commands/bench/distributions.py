"""Which record comes next, as YCSB draws it: zipfian by the algorithm of Gray et al., "Quickly Generating Billion-Record
Synthetic Databases", SIGMOD 1994, scattered over all keys by a hash, or counted back from the latest record."""

from __future__ import annotations

import math
import random

#: YCSB's constant: of a zipfian distribution over many items the first is drawn in some 4 % of all cases.
THETA = 0.99
#: A scrambled zipfian draws from so many items, whose zeta YCSB has worked out once, and folds them onto those there are.
_SCRAMBLED_ITEMS, _SCRAMBLED_ZETA = 10_000_000_000, 26.46902820178302
_FNV_OFFSET, _FNV_PRIME, _MASK = 0xCBF29CE484222325, 1099511628211, 2**64 - 1


def fnv64(number: int) -> int:
    """FNV-1a over the eight bytes of a number, the lowest first, without its sign: `Utils.fnvhash64` of YCSB."""
    hashed = _FNV_OFFSET
    for byte in number.to_bytes(8, "little"):
        hashed = (hashed ^ byte) * _FNV_PRIME & _MASK
    return 2**64 - hashed if hashed >= 2**63 else hashed


def zeta(items: int, theta: float = THETA) -> float:
    """The sum of 1 / i**theta."""
    return math.fsum(1 / number**theta for number in range(1, items + 1))


class Zipfian:
    """Numbers from 0 on; the first is the most frequent one."""

    def __init__(self, items: int, zeta_of_items: float | None = None, theta: float = THETA) -> None:
        self._theta, self._alpha = theta, 1 / (1 - theta)
        self._zeta_2 = zeta(2, theta)
        self._items = items
        self._zeta = zeta(items, theta) if zeta_of_items is None else zeta_of_items
        self._eta = self._eta_of()

    def _eta_of(self) -> float:
        if self._items <= 2:  # there is nothing left to share out
            return 0.0
        rest: float = 1 - (2 / self._items) ** (1 - self._theta)
        return rest / (1 - self._zeta_2 / self._zeta)

    def grow(self, items: int) -> None:
        """There are more items now: their zeta is that of before, and a little."""
        for number in range(self._items + 1, items + 1):
            self._zeta += 1 / number**self._theta
        if items > self._items:
            self._items = items
            self._eta = self._eta_of()

    def draw(self, source: random.Random) -> int:
        """One of them."""
        drawn = source.random()
        scaled = drawn * self._zeta
        if scaled < 1 or self._items == 1:
            return 0
        if scaled < 1 + 0.5**self._theta or self._items == 2:
            return 1
        return min(self._items - 1, int(self._items * (self._eta * drawn - self._eta + 1) ** self._alpha))


class ScrambledZipfian:
    """The same, but the frequent ones are anywhere among the records."""

    def __init__(self, items: int) -> None:
        self._items = items
        self._zipfian = Zipfian(_SCRAMBLED_ITEMS, _SCRAMBLED_ZETA)

    def draw(self, source: random.Random) -> int:
        """The number of a record."""
        return fnv64(self._zipfian.draw(source)) % self._items


class Latest:
    """The latest record is the most frequent one."""

    def __init__(self, items: int) -> None:
        self._zipfian = Zipfian(items)

    def draw(self, source: random.Random, items: int) -> int:
        """The number of one of the first `items` records, of which there are never fewer than before."""
        self._zipfian.grow(items)
        return items - 1 - self._zipfian.draw(source)


class Acknowledged:
    """Numbers for new records, and how many there are without a gap: a later one that is stored first does not count yet."""

    def __init__(self, count: int) -> None:
        self.count = self._next = count
        self._ahead: set[int] = set()

    def take(self) -> int:
        """The next number."""
        self._next += 1
        return self._next - 1

    def acknowledge(self, number: int) -> None:
        """Its insert has ended."""
        self._ahead.add(number)
        while self.count in self._ahead:
            self._ahead.remove(self.count)
            self.count += 1
