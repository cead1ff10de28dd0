"""What a request of `/v1` asks for beside its body: the key, when the record is to expire, and what names the request."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from serve_app.auth.access import ScopeName, access_of
from serve_app.errors import InvalidRequest
from serve_app.http import conditions, requests
from serve_app.http.requests import Scope
from serve_app.operations.condition import NO_CONDITION, Condition
from serve_app.operations.expiry import MAX_TIME_MS, problem_of
from serve_app.record_bounds import MAX_IDEMPOTENCY_KEY_BYTES, check_key_bytes

#: The parameters that say when a record is to expire.
EXPIRY = ("ttl", "expires_at")
NEVER = b"never"
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_SECONDS = re.compile(rb"([0-9]{1,12})(?:\.([0-9]{1,3})0*)?")
_VISIBLE = re.compile(rb"[\x21-\x7e]+")


def key_and_parameters(
    scope: Scope, path: bytes, needed: ScopeName, allowed: tuple[str, ...] = ()
) -> tuple[bytes, dict[str, bytes]]:
    """The key, in the path behind `path` and a slash or as the parameter `key`, and the other parameters. needed: what the
    request must be allowed to do with the key.

    Raises:
        InvalidRequest: the key is missing, empty, too long or not UTF-8; a parameter is unknown, repeated or not UTF-8.
        Unauthorized, Forbidden, Unavailable: it may not be touched (`Access.require`).
    """
    access = access_of(scope)
    access.require(needed)  # who may do nothing here is told that, and not what is wrong with the key
    key, found = _key_and_parameters(scope, path, allowed)
    access.require(needed, key)
    return key, found


def _key_and_parameters(scope: Scope, path: bytes, allowed: tuple[str, ...]) -> tuple[bytes, dict[str, bytes]]:
    written = requests.local_path(scope)
    if written == path:
        found = requests.parameters(scope, ("key", *allowed))
        key = requests.required_key(found)
        return key, found
    found = requests.parameters(scope, allowed) if scope["query_string"] else {}
    if not written.startswith(path + b"/"):
        raise InvalidRequest(f"only the key may be percent-encoded; the path starts with {path.decode()}/")
    return check_key_bytes(requests.decode(written[len(path) + 1 :], "the key")), found


def condition_of(scope: Scope) -> Condition | None:
    """What the request's headers demand of the record; None where that is nothing. Raises InvalidRequest."""
    condition = conditions.condition_of(scope["headers"])
    return None if condition is NO_CONDITION else condition


def expiry_of(found: dict[str, bytes]) -> tuple[int, int]:
    """`(ttl_ms, expires_ms)` of the parameters `ttl` and `expires_at`; 0 where one is not given, or says `never`.

    Raises:
        InvalidRequest: one of them is wrong, or both are given.
    """
    ttl_ms = expires_ms = 0
    ttl, at = found.get("ttl"), found.get("expires_at")
    if ttl is not None:
        ttl_ms = milliseconds(ttl)
        if not ttl_ms:
            raise InvalidRequest("the parameter 'ttl' is a number of seconds above 0, such as 60 or 0.5")
    if at is not None:
        if ttl is not None:
            raise InvalidRequest("a time to live and a time of expiry can't both be given")
        expires_ms = 0 if at == NEVER else moment_ms(at)
    check_expiry(ttl_ms, expires_ms)
    return ttl_ms, expires_ms


def check_expiry(ttl_ms: int, expires_ms: int) -> None:
    """Raises InvalidRequest where they are no time to live and no time of expiry that could be meant."""
    problem = problem_of(ttl_ms, expires_ms)
    if problem:
        raise InvalidRequest(problem)


def milliseconds_of(seconds: float) -> int:
    """Of a number of seconds in JSON.

    Raises:
        InvalidRequest: it is not above 0, or beyond any time that could be meant.
    """
    if not 0.001 <= seconds <= MAX_TIME_MS / 1000:
        raise InvalidRequest(
            "a number of seconds is above 0, such as 60 or 0.5, and no more than there are until the year 9999"
        )
    return round(seconds * 1000)


def milliseconds(seconds: bytes) -> int:
    """Of a number of seconds as text, with at most three decimals; 0 where it is none."""
    match = _SECONDS.fullmatch(seconds)
    return 0 if match is None else int(match[1]) * 1000 + int((match[2] or b"").ljust(3, b"0"))


def moment_ms(text: bytes) -> int:
    """Milliseconds since the Unix epoch of a moment: seconds since then, or as RFC 3339 writes it.

    Raises:
        InvalidRequest: it is neither, or beyond the year 9999.
    """
    at_ms = milliseconds(text)
    if not at_ms:
        try:
            moment = datetime.fromisoformat(text.decode())
            at_ms = (moment - _EPOCH) // _MILLISECOND if moment.tzinfo is not None else 0
        except (ValueError, OverflowError):
            at_ms = 0
    if not 0 < at_ms <= MAX_TIME_MS:
        raise InvalidRequest(
            "a moment is written as seconds since 1970 (1767225600), or as RFC 3339 has it (2026-01-01T00:00:00Z)"
        )
    return at_ms


@lru_cache(maxsize=8192)
def shown_moment(at_ms: int) -> str | None:
    """A moment as RFC 3339 writes it, in UTC with milliseconds; None for 0, which is never."""
    if not at_ms:
        return None
    seconds, ms = divmod(at_ms, 1000)
    return f"{_to_the_second(seconds)}.{ms:03d}Z"


@lru_cache(maxsize=8192)
def _to_the_second(seconds: int) -> str:
    """Remembered, since most of a list, and of what is read at one time, was written at few times."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def idempotency_key(scope: Scope) -> bytes:
    """The header `Idempotency-Key`; empty where there is none.

    Raises:
        InvalidRequest: it is empty, longer than 64 characters, given twice, or has others than visible ASCII characters.
    """
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"idempotency-key":
            if found is not None:
                raise InvalidRequest("the header Idempotency-Key is given twice")
            found = value
    if found is None:
        return b""
    if not _VISIBLE.fullmatch(found) or len(found) > MAX_IDEMPOTENCY_KEY_BYTES:
        raise InvalidRequest(
            f"the header Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters"
        )
    return found
