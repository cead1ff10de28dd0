"""When a record is to expire, as a write asks for it: after a while, or at a time, by the bucket's clock."""

from __future__ import annotations

from serve_app.errors import InvalidRequest

#: A hundred years. What is longer is a typing error, or a number of milliseconds.
MAX_TTL_MS = 100 * 365 * 24 * 3600 * 1000
#: The year 9999: beyond it dates have no text.
MAX_TIME_MS = 253_402_300_799_999


def problem_of(ttl_ms: int, expires_ms: int) -> str:
    """What is wrong with them, as a sentence, or empty. 0: not asked for."""
    if ttl_ms and expires_ms:
        return "a time to live and a time of expiry can't both be given"
    if not 0 <= ttl_ms <= MAX_TTL_MS:
        return "a time to live is more than 0 and at most 100 years"
    if not 0 <= expires_ms <= MAX_TIME_MS:
        return "a time of expiry is no later than the year 9999"
    return ""


def expiry_at(ttl_ms: int, expires_ms: int, now_ms: int) -> int:
    """When that is, milliseconds since the Unix epoch; 0 for never.

    Raises:
        InvalidRequest: the time is in the past.
    """
    if ttl_ms:
        return min(now_ms + ttl_ms, MAX_TIME_MS)
    if expires_ms and expires_ms <= now_ms:
        raise InvalidRequest("the time of expiry has passed, by the bucket's clock")
    return expires_ms
