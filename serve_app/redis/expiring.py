"""When a record is to expire, as Redis' options and commands say it: in seconds or milliseconds, from now or since 1970."""

from __future__ import annotations

from typing import NamedTuple

from serve_app.operations.expiry import MAX_TIME_MS, MAX_TTL_MS
from serve_app.redis import replies
from serve_app.redis.command import HIGHEST, Wrong, integer_in

#: By option: milliseconds of a unit, and whether it counts from now.
OPTIONS = {b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False)}


class Expiry(NamedTuple):
    """As a put takes it: one of them is 0."""

    ttl_ms: int
    expires_ms: int


def of_option(option: bytes, raw: bytes, command: str, now_ms: int) -> Expiry:
    """Raises Wrong: it is no number, not above 0, or more than Redis counts."""
    unit_ms, from_now = OPTIONS[option]
    ms = integer_in(raw) * unit_ms
    if not 0 < ms <= HIGHEST - (now_ms if from_now else 0):
        raise Wrong(replies.error(f"ERR invalid expire time in '{command}' command"))
    return after(ms, now_ms) if from_now else Expiry(0, min(ms, MAX_TIME_MS))


def after(ms: int, now_ms: int) -> Expiry:
    """From now on: by the bucket's clock, but for times that the store does not count so far (100 years). None is later than
    the year 9999."""
    return Expiry(ms, 0) if ms <= MAX_TTL_MS else Expiry(0, min(now_ms + ms, MAX_TIME_MS))
