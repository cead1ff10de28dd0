"""What came of requests that may be repeated: an outcome for each idempotency key, kept in the batch of its write.

An outcome belongs to a record's key and follows it: it moves with the key's window, and it is there when the record is gone.

    bucket.outcome/ + the record's key, escaped + 00 01 + the idempotency key  →  msgpack of `Outcome`

Escaped: each byte 00 is followed by FF. So names are in the order of keys whatever bytes are in them, as in FoundationDB's
tuple layer, and the names of a range of keys are a range.
"""

from __future__ import annotations

import msgspec

from serve_app.errors import StorageDamaged

#: How long the outcome of a request is remembered that may come again, where it does not say itself.
OUTCOMES_KEPT_MS = 10 * 60 * 1000
PREFIX = b"bucket.outcome/"
_END_OF_KEY = b"\0\x01"


class Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """due_ms: until when it is remembered, milliseconds since the Unix epoch. request: a digest of what was asked for.
    answer: what it was answered with, as `bucket/live_records.py` encodes it."""

    due_ms: int
    request: bytes
    answer: bytes


_decoder = msgspec.msgpack.Decoder(Outcome)
_encode = msgspec.msgpack.Encoder().encode


def name_of(key: bytes, idempotency_key: bytes) -> bytes:
    """The name of the fact."""
    return PREFIX + _escaped(key) + _END_OF_KEY + idempotency_key


def key_in(name: bytes) -> bytes:
    """The record's key in the name of an outcome. Raises StorageDamaged where it is none."""
    end = name.rfind(_END_OF_KEY)  # an idempotency key is of visible characters
    if not name.startswith(PREFIX) or end < 0:
        raise StorageDamaged(f"{name!r:.80} is no name of an outcome")
    return name[len(PREFIX) : end].replace(b"\0\xff", b"\0")


def bounds(start: bytes, end: bytes | None) -> tuple[bytes, bytes]:
    """The range of names of the outcomes of keys in [start, end); of all from `start` on where end is None."""
    return PREFIX + _escaped(start), PREFIX + (b"\xff" if end is None else _escaped(end))


def encode(outcome: Outcome) -> bytes:
    """The fact's bytes."""
    return _encode(outcome)


def decode(raw: bytes) -> Outcome:
    """Raises StorageDamaged."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StorageDamaged(f"a stored outcome can't be read: {error}") from error


def _escaped(key: bytes) -> bytes:
    return key.replace(b"\0", b"\0\xff") if b"\0" in key else key
