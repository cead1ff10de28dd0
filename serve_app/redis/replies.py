"""Answers as bytes, in RESP2 and RESP3 (redis.io, "Redis serialization protocol specification")."""

from __future__ import annotations

from collections.abc import Sequence

from serve_app.errors import (
    DiskFull,
    Forbidden,
    NotADecimal,
    NotANumber,
    NumberOverflow,
    OutcomeUnknown,
    StoreError,
    Unauthorized,
    Unavailable,
    ValueTooLarge,
)

OK, PONG = b"+OK\r\n", b"+PONG\r\n"
NIL2, NIL3 = b"$-1\r\n", b"_\r\n"
ZERO, ONE = b":0\r\n", b":1\r\n"
NOT_AN_INTEGER = b"-ERR value is not an integer or out of range\r\n"
NOT_A_FLOAT = b"-ERR value is not a valid float\r\n"
NO_SUM = b"-ERR increment would produce NaN or Infinity\r\n"
SYNTAX = b"-ERR syntax error\r\n"
TOO_LONG = b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
NO_AUTH = b"-NOAUTH Authentication required.\r\n"
#: By class, the first that fits: what a client may do about it differs (docs/redis.md).
_WORDS: tuple[tuple[type[StoreError], str], ...] = (
    (OutcomeUnknown, "UNKNOWN"),
    (DiskFull, "NOSPACE"),
    (Unavailable, "TRYAGAIN"),
    (Unauthorized, "NOAUTH"),
    (Forbidden, "NOPERM"),
)
_SAID: tuple[tuple[type[StoreError], bytes], ...] = (
    (NotADecimal, NOT_A_FLOAT),
    (NotANumber, NOT_AN_INTEGER),
    (NumberOverflow, b"-ERR increment or decrement would overflow\r\n"),
    (ValueTooLarge, TOO_LONG),
)


def nil(resp3: bool) -> bytes:
    return NIL3 if resp3 else NIL2


def integer(number: int) -> bytes:
    return b":%d\r\n" % number


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def simple(text: str) -> bytes:
    return b"+%b\r\n" % text.encode()


def array(items: Sequence[bytes]) -> bytes:
    """Of answers that are bytes already."""
    return b"*%d\r\n%b" % (len(items), b"".join(items))


def pairs(items: Sequence[tuple[bytes, bytes]], resp3: bool) -> bytes:
    """A map, or an array where there are none: answers that are bytes already."""
    return b"%b%d\r\n%b" % (
        b"%" if resp3 else b"*",
        len(items) if resp3 else 2 * len(items),
        b"".join(name + value for name, value in items),
    )


def error(text: str) -> bytes:
    """The first word says which kind; no text can end its line."""
    return b"-%b\r\n" % text.replace("\r", " ").replace("\n", " ").encode("utf-8", "replace")


def of_error(problem: StoreError) -> bytes:
    """What the store could not do."""
    for kind, said in _SAID:
        if isinstance(problem, kind):
            return said
    return error(f"{word_of(problem)} {problem}")


def word_of(problem: StoreError) -> str:
    return next((word for kind, word in _WORDS if isinstance(problem, kind)), "ERR")
