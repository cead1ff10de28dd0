"""Where a key lives: the one hash of keys in the project.

The rule is plain and public, so that an operator can check it with any SHA256 tool:
`bucket_of(key, M) = int(sha256(key as UTF-8).hexdigest(), 16) % M`.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache, partial

# What is hashed so is no secret. Said so, OpenSSL looks nothing up: a key takes less than half as long.
sha256 = partial(hashlib.sha256, usedforsecurity=False)


def stable_hash(key: bytes) -> int:
    """The SHA256 (FIPS 180-4) of a key's UTF-8 bytes as an unsigned 256-bit integer, big-endian.

    The same in every process and release, unlike `hash()`.
    """
    return int.from_bytes(sha256(key).digest(), "big")


#: Hashes of keys that were asked for lately, if they are short: a seventh of the time, and some 5 MB at most.
_KNOWN, _KNOWN_KEY_BYTES = 20_000, 64
_known_hash = lru_cache(_KNOWN)(stable_hash)


def buckets_of(keys: Iterable[bytes], bucket_count: int) -> list[int]:
    """`bucket_of` each of many keys that clients ask for, of which some come again and again."""
    return [(_known_hash(key) if len(key) <= _KNOWN_KEY_BYTES else stable_hash(key)) % bucket_count for key in keys]


def digest(key: bytes) -> str:
    """The SHA256 of a key's UTF-8 bytes as 64 lower-case hex digits, as the API shows it."""
    return sha256(key).hexdigest()


def bucket_of(key: bytes, bucket_count: int) -> int:
    """The id (0 to bucket_count - 1) of the bucket that a key lives in.

    Raises:
        ValueError: bucket_count is below 1.
    """
    if bucket_count < 1:
        raise ValueError(f"bucket_count must be at least 1, not {bucket_count}")
    return stable_hash(key) % bucket_count


def place(key: bytes, bucket_count: int) -> tuple[int, str]:
    """`(bucket_of(key, bucket_count), digest(key))` with the hash computed once: both are needed on every request."""
    hashed = sha256(key)
    return int.from_bytes(hashed.digest(), "big") % bucket_count, hashed.hexdigest()
