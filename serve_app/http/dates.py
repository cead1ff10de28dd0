"""HTTP-dates (RFC 9110, 5.6.7), both ways."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from functools import lru_cache

from serve_app.operations.condition import EARLIEST_S, LATEST_S

_DAY_S = 86_400
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LONG_DAY = "|".join(_DAYS)
_DAY = "|".join(day[:3] for day in _DAYS)
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
#: IMF-fixdate, then the two obsolete formats that a recipient MUST accept as well. "HTTP-date is case sensitive."
_FORMATS = tuple(
    re.compile(pattern.encode())
    for pattern in (
        f"(?:{_DAY}), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
        f"(?:{_LONG_DAY}), (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
        f"(?:{_DAY}) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
_LONGEST = len("Wednesday, 06-Nov-94 08:49:37 GMT")

#: The last second that was formatted, and what it became: one tuple, so that threads need no lock.
_last: tuple[int, bytes] = (0, b"Thu, 01 Jan 1970 00:00:00 GMT")


def http_date(seconds: int) -> bytes:
    """An IMF-fixdate, which is what a sender MUST generate. Seconds since the Unix epoch; what is beyond the years 1 to 9999
    becomes the end that is nearer."""
    global _last
    second, formatted = _last
    if second == seconds:
        return formatted
    day, within = divmod(min(max(seconds, EARLIEST_S), LATEST_S), _DAY_S)
    formatted = b"%b%02d:%02d:%02d GMT" % (_day(day), within // 3600, within // 60 % 60, within % 60)
    _last = (seconds, formatted)
    return formatted


@lru_cache(maxsize=1024)
def _day(number: int) -> bytes:
    date = datetime.fromordinal(number + datetime(1970, 1, 1).toordinal())
    return f"{_DAYS[date.weekday()][:3]}, {date.day:02} {_MONTHS[date.month - 1]} {date.year:04} ".encode()


def parse_http_date(value: bytes, now_s: float | None = None) -> int | None:
    """Seconds since the Unix epoch, or None where it is no valid HTTP-date.

    A day's name that does not fit the date is let pass: a recipient is "encouraged to be robust in parsing timestamps", and a
    date that is not valid makes a condition go unasked.

    Args:
        now_s: for the two digits of an rfc850-date's year; by default the clock's.
    """
    if len(value) > _LONGEST:
        return None
    found = next((match for match in (pattern.fullmatch(value) for pattern in _FORMATS) if match), None)
    if found is None:
        return None
    year, day, hour, minute, second = (int(found[name]) for name in ("year", "day", "hour", "minute", "second"))
    month = _MONTHS.index(found["month"].decode()) + 1
    if len(found["year"]) == 2:
        year = _full_year((year, month, day, hour, minute, second), time.time() if now_s is None else now_s)
    leap = (hour, minute, second) == (23, 59, 60)  # a leap second is the first second of the next day here
    try:
        date = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC)
    except ValueError:
        return None
    return min(int((date - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) + leap, LATEST_S)


def _full_year(date: tuple[int, int, int, int, int, int], now_s: float) -> int:
    """A timestamp that appears to be more than 50 years in the future is of the most recent year in the past that had the
    same last two digits."""
    now = time.gmtime(now_s)
    year = now.tm_year // 100 * 100 + 100 + date[0]
    while (year, *date[1:]) > (now.tm_year + 50, *now[1:6]):
        year -= 100
    return year
