"""The part of a value that a GET asks for: RFC 9110, 14.1 and 14.2 (Range), 13.1.5 (If-Range), 14.4 (Content-Range).

One range of bytes is served. What is several, malformed or of another unit is ignored, and the whole value sent: "A server
MAY ignore the Range header field" (14.2).
"""

from __future__ import annotations

import time
from typing import Any

from serve_app.errors import RangeNotSatisfiable
from serve_app.http.conditions import OWS
from serve_app.http.dates import http_date

#: Longer numbers are beyond any value. They are never converted, because that takes the square of their length.
_MOST_DIGITS = 18


def range_of(
    scope: dict[str, Any], size: int, etag: bytes, last_modified_s: int, *, now_s: float | None = None
) -> tuple[int, int] | None:
    """(start, end) of what to send of a value of `size` bytes, end excluded, or None: all of it.

    Only GET has ranges (14.2): the caller asks for no other method, and only where the answer would be 200 without them.

    Args:
        now_s: for If-Range with a date; by default the clock's.

    Raises:
        RangeNotSatisfiable: nothing of the value is in the range.
    """
    asked: bytes | None = None
    validator: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"range":
            if asked is not None:
                return None  # more than one is no ranges-specifier
            asked = value
        elif name == b"if-range":
            # Likewise: two are no validator, and match nothing.
            validator = value.strip(OWS) if validator is None else b""
    if asked is None:
        return None
    if validator is not None and not _matches(validator, etag, last_modified_s, now_s):
        return None
    return _part(asked, size)


def content_range(start: int, end: int, size: int) -> bytes:
    """The Content-Range of a 206; end excluded."""
    return b"bytes %d-%d/%d" % (start, end - 1, size)


def _matches(validator: bytes, etag: bytes, last_modified_s: int, now_s: float | None) -> bool:
    """Whether If-Range is true.

    By 8.8.2.2 a date is weak unless it can be deduced to be strong. Whether a record changed twice within a second is not
    known here, so what is left is the client's own rule: its answer's Date was at least one second after Last-Modified. While
    that second lasts no client can have such an answer, so the date is weak for certain. After it the client alone knows, and
    "MUST NOT generate" the date unless it is strong (13.1.5).
    """
    if validator.startswith((b'"', b"W/")):
        # The strong comparison (8.8.3.2): a weak tag on either side never matches.
        return validator == etag and not etag.startswith(b"W/")
    if validator != http_date(last_modified_s):
        return False
    return (time.time() if now_s is None else now_s) >= last_modified_s + 1


def _part(asked: bytes, size: int) -> tuple[int, int] | None:
    unit, _, range_set = asked.strip(OWS).partition(b"=")
    if unit.lower() != b"bytes":
        return None
    spec = range_set.strip(OWS + b",")  # a list's empty elements don't count (5.6.1.2)
    first, dash, last = spec.partition(b"-")
    if not dash or not (first + last).isdigit():
        return None
    if (first and not first.isdigit()) or (last and not last.isdigit()):
        return None
    if not first:
        if not last.strip(b"0"):
            raise RangeNotSatisfiable(size)
        # The last bytes of nothing are satisfiable (14.1.2), but Content-Range can't say so: the whole is sent (14.2).
        return (size - _number(last, size), size) if size else None
    if last and _in_order(last) < _in_order(first):
        return None  # invalid (14.1.1)
    start = _number(first, size)
    if start >= size:
        raise RangeNotSatisfiable(size)
    return start, min(_number(last, size) + 1, size) if last else size


def _number(digits: bytes, most: int) -> int:
    """The number, or `most` where it is greater."""
    digits = digits.lstrip(b"0")
    return min(int(digits or b"0"), most) if len(digits) <= _MOST_DIGITS else most


def _in_order(digits: bytes) -> tuple[int, bytes]:
    """What sorts as the numbers do, of any length."""
    digits = digits.lstrip(b"0")
    return len(digits), digits
