"""HTTP-dates, by RFC 9110's sentences: all of them in 5.6.7."""

from __future__ import annotations

import time
from calendar import timegm
from email.utils import formatdate, parsedate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serve_app.http.dates import http_date, parse_http_date
from serve_app.operations.condition import EARLIEST_S, LATEST_S

#: The RFC's own example, in its three formats.
EXAMPLE_S = 784_111_777
IMF = b"Sun, 06 Nov 1994 08:49:37 GMT"
RFC850 = b"Sunday, 06-Nov-94 08:49:37 GMT"
ASCTIME = b"Sun Nov  6 08:49:37 1994"
#: Wed, 25 Nov 2026 00:00:00 GMT
NOW_S = 1_795_564_800


@pytest.mark.parametrize("value", [IMF, RFC850, ASCTIME], ids=ascii)
def test_dates_are_accepted_in_all_three_formats(value: bytes) -> None:
    """5.6.7: "A recipient that parses a timestamp value in an HTTP field MUST accept all three HTTP-date formats"."""
    assert parse_http_date(value) == EXAMPLE_S


def test_dates_are_sent_as_imf_fixdate() -> None:
    """5.6.7: "a sender MUST generate ... in the IMF-fixdate format"."""
    assert http_date(EXAMPLE_S) == IMF


@pytest.mark.parametrize(
    ("value", "year"),
    [
        (b"Wednesday, 25-Nov-76 00:00:00 GMT", 2076),
        (b"Wednesday, 25-Nov-76 00:00:01 GMT", 1976),
        (b"Wednesday, 24-Nov-76 23:59:59 GMT", 2076),
        (b"Friday, 01-Jan-77 00:00:00 GMT", 1977),
        (b"Saturday, 01-Jan-00 00:00:00 GMT", 2000),
        (b"Friday, 31-Dec-99 00:00:00 GMT", 1999),
        (b"Wednesday, 25-Nov-26 00:00:00 GMT", 2026),
    ],
    ids=ascii,
)
def test_dates_of_two_digit_years_are_at_most_50_years_in_the_future(value: bytes, year: int) -> None:
    """5.6.7: "MUST interpret a timestamp that appears to be more than 50 years in the future as representing the most recent
    year in the past that had the same last two digits"."""
    parsed = parse_http_date(value, NOW_S)
    assert parsed is not None
    assert time.gmtime(parsed).tm_year == year


def test_dates_of_two_digit_years_are_read_over_a_century_s_end() -> None:
    """5.6.7, likewise in 2099."""
    parsed = parse_http_date(b"Friday, 01-Jan-05 00:00:00 GMT", timegm((2099, 1, 1, 0, 0, 0)))
    assert parsed == timegm((2105, 1, 1, 0, 0, 0))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        IMF.lower(),
        IMF.replace(b"GMT", b"UTC"),
        IMF.replace(b"GMT", b"+0000"),
        IMF.replace(b" GMT", b""),
        IMF.replace(b"06", b"6"),
        IMF.replace(b"06", b" 6"),
        IMF.replace(b"1994", b"94"),
        IMF.replace(b"1994", b"0000"),
        IMF.replace(b", ", b","),
        IMF.replace(b"Nov", b"nov"),
        IMF.replace(b"Nov", b"11"),
        IMF.replace(b"06 Nov", b"31 Nov"),
        IMF.replace(b"06 Nov", b"00 Nov"),
        IMF.replace(b"06 Nov", b"29 Feb"),
        IMF.replace(b"08:", b"24:"),
        IMF.replace(b":49:", b":60:"),
        IMF.replace(b":37", b":60"),
        IMF.replace(b":37", b":61"),
        IMF.replace(b":37", b":37.5"),
        IMF.replace(b":37", b""),
        IMF.replace(b"0", "\u0660".encode()),
        IMF + b" ",
        IMF + b"\n",
        b" " + IMF,
        RFC850.replace(b"Sunday", b"Sun"),
        RFC850.replace(b"-94", b"-1994"),
        RFC850.replace(b"-", b" "),
        ASCTIME.replace(b"  6", b" 6"),
        ASCTIME + b" GMT",
        b"1994-11-06T08:49:37Z",
        b"784111777",
        b"9" * 60_000,
    ],
    ids=lambda value: ascii(value[:40]),
)
def test_dates_of_any_other_form_are_not_valid(value: bytes) -> None:
    """5.6.7: the grammar, and "HTTP-date is case sensitive"."""
    assert parse_http_date(value) is None


def test_dates_with_the_wrong_day_of_the_week_are_let_pass() -> None:
    """5.6.7: "encouraged to be robust"; a condition that is asked is safer than one that is not."""
    assert parse_http_date(IMF.replace(b"Sun", b"Mon")) == EXAMPLE_S


def test_dates_may_be_leap_days_and_leap_seconds() -> None:
    """5.6.7: second = 2DIGIT, 00 to 60."""
    assert parse_http_date(b"Thu, 29 Feb 1996 00:00:00 GMT") == timegm((1996, 2, 29, 0, 0, 0))
    assert parse_http_date(b"Sat, 31 Dec 2016 23:59:60 GMT") == timegm((2017, 1, 1, 0, 0, 0))
    assert parse_http_date(b"Fri, 31 Dec 9999 23:59:60 GMT") == LATEST_S


def test_dates_before_1970_are_dates() -> None:
    assert parse_http_date(b"Wed, 31 Dec 1969 23:59:59 GMT") == -1
    assert http_date(-1) == b"Wed, 31 Dec 1969 23:59:59 GMT"


@given(st.integers(EARLIEST_S, LATEST_S))
@example(EARLIEST_S)
@example(LATEST_S)
@example(0)
def test_dates_that_were_formatted_parse_back(seconds: int) -> None:
    formatted = http_date(seconds)
    assert http_date(seconds) == formatted, "the one that is remembered"
    assert parse_http_date(formatted) == seconds
    assert len(formatted) == len(IMF)


@given(st.integers(timegm((1970, 1, 1, 0, 0, 0)), LATEST_S))
def test_dates_are_those_of_the_standard_library(seconds: int) -> None:
    assert http_date(seconds).decode() == formatdate(seconds, usegmt=True)
    parsed = parsedate(http_date(seconds).decode())
    assert parsed is not None
    assert timegm(parsed) == seconds


@given(st.integers(EARLIEST_S, LATEST_S))
def test_dates_in_asctime_s_format_are_read(seconds: int) -> None:
    date = http_date(seconds).decode()
    name, day, month, year, clock = date[:3], int(date[5:7]), date[8:11], date[12:16], date[17:25]
    assert parse_http_date(f"{name} {month} {day:2} {clock} {year}".encode()) == seconds


def test_dates_that_no_record_has_become_the_nearest_one() -> None:
    assert http_date(2**64) == http_date(LATEST_S) == b"Fri, 31 Dec 9999 23:59:59 GMT"
    assert http_date(-(2**64)) == http_date(EARLIEST_S) == b"Mon, 01 Jan 0001 00:00:00 GMT"


@given(st.binary(max_size=40))
def test_dates_of_any_bytes_are_read_or_are_none(value: bytes) -> None:
    parsed = parse_http_date(value)
    assert parsed is None or EARLIEST_S <= parsed <= LATEST_S
