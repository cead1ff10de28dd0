"""The keys and values that all systems are loaded with."""

from __future__ import annotations

import random
import string

#: Digits of a key's number: the same length at any number of keys.
KEY_DIGITS = 7
KEY_PREFIX = "key"
_POOL_BYTES = 256 * 1024
# Letters at random: a value like "xxxx…" would be compressed to nothing, and flatter every store that compresses.
_POOL = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=_POOL_BYTES)).encode()
_STEP_BYTES = 7919  # a prime, so that neighbours have little in common


def key_name(number: int) -> str:
    """The key with this number."""
    return f"{KEY_PREFIX}{number:0{KEY_DIGITS}d}"


def value_of(number: int, size_bytes: int) -> bytes:
    """A value of that size for the key with this number: always the same, and unlike its neighbours'."""
    start = number * _STEP_BYTES % (_POOL_BYTES - size_bytes)
    return _POOL[start : start + size_bytes]
