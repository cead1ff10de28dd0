"""Ranges, by RFC 9110's sentences.

| section | what it says | here |
| --- | --- | --- |
| 14.1, 14.1.1 | units, the grammar, what is invalid | `test_a_range_*` |
| 14.1.2 | ranges of bytes, and what is satisfiable | `test_bytes_*` |
| 14.2 | what is ignored | `test_ignored_*` |
| 14.4, 15.5.17 | Content-Range, 416 | `test_content_range_*` |
| 13.1.5, 8.8.2.2, 8.8.3.2 | If-Range | `test_if_range_*` |

That only GET has ranges (14.2) is the caller's to see to.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.errors import RangeNotSatisfiable
from serve_app.http import problems
from serve_app.http.conditions import etag, http_date
from serve_app.http.ranges import content_range, range_of
from tests.support.asgi_client import scope_of
from tests.support.problem import Answered, check_problem

TAG = etag(5)
MODIFIED_S = 784_111_777
NOW_S = MODIFIED_S + 1000
LONG = b"9" * 60_000


def part(
    value: bytes, size: int = 10_000, *headers: tuple[bytes, bytes], now_s: float = NOW_S
) -> tuple[int, int] | None:
    scope = scope_of("GET", b"/v1/kv/k", [(b"host", b"a"), (b"range", value), *headers])
    return range_of(scope, size, TAG, MODIFIED_S, now_s=now_s)


def refused(value: bytes, size: int = 10_000) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        part(value, size)
    assert caught.value.size == size


def test_a_request_without_a_range_is_for_the_whole() -> None:
    assert range_of(scope_of("GET", b"/", [(b"host", b"a")]), 10, TAG, MODIFIED_S) is None


# -- 14.1.2: bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "slice_"),
    [
        (b"bytes=0-499", (0, 500)),
        (b"bytes=500-999", (500, 1000)),
        (b"bytes=-500", (9500, 10_000)),
        (b"bytes=9500-", (9500, 10_000)),
        (b"bytes=0-0", (0, 1)),
        (b"bytes=-1", (9999, 10_000)),
        (b"bytes=9999-9999", (9999, 10_000)),
        (b"bytes=0-", (0, 10_000)),
    ],
    ids=ascii,
)
def test_bytes_are_those_of_the_rfc_s_examples(value: bytes, slice_: tuple[int, int]) -> None:
    """14.1.2: "assuming a representation of length 10000"."""
    assert part(value) == slice_


@pytest.mark.parametrize("last", [b"10000", b"9999", b"99999", LONG], ids=lambda value: ascii(value[:30]))
def test_bytes_to_beyond_the_end_are_the_remainder(last: bytes) -> None:
    """14.1.2: "If the last-pos value is absent, or if the value is greater than or equal to the current length ... the byte
    range is interpreted as the remainder of the representation"."""
    assert part(b"bytes=100-" + last) == (100, 10_000)


@pytest.mark.parametrize("length", [b"10000", b"10001", LONG], ids=lambda value: ascii(value[:30]))
def test_bytes_of_a_suffix_longer_than_the_value_are_all_of_it(length: bytes) -> None:
    """14.1.2: "If the selected representation is shorter than the specified suffix-length, the entire representation is
    used"."""
    assert part(b"bytes=-" + length) == (0, 10_000)


@pytest.mark.parametrize(
    "value",
    [b"bytes=10000-", b"bytes=10000-10001", b"bytes=" + LONG + b"-", b"bytes=" + LONG + b"-" + LONG],
    ids=lambda value: ascii(value[:30]),
)
def test_bytes_from_the_end_on_are_not_satisfiable(value: bytes) -> None:
    """14.1.2: satisfiable is "an int-range with a first-pos that is less than the current length"."""
    refused(value)


@pytest.mark.parametrize("value", [b"bytes=-0", b"bytes=-000"])
@pytest.mark.parametrize("size", [0, 10_000])
def test_bytes_of_a_suffix_of_length_zero_are_not_satisfiable(value: bytes, size: int) -> None:
    """14.1.2: "or a suffix-range with a non-zero suffix-length"."""
    refused(value, size)


@pytest.mark.parametrize("value", [b"bytes=0-", b"bytes=0-0", b"bytes=5-9"])
def test_bytes_from_a_position_in_an_empty_value_are_not_satisfiable(value: bytes) -> None:
    """14.1.2."""
    refused(value, 0)


@pytest.mark.parametrize("value", [b"bytes=-1", b"bytes=-" + LONG], ids=lambda value: ascii(value[:30]))
def test_bytes_at_the_end_of_an_empty_value_are_satisfiable_and_no_416(value: bytes) -> None:
    """14.1.2: "When a selected representation has zero length, the only satisfiable form of range-spec in a GET request is a
    suffix-range with a non-zero suffix-length"; 14.4 has no way to write it, and 14.2 lets it be ignored where "the selected
    representation has no content"."""
    assert part(value, 0) is None


def test_bytes_may_have_zeros_ahead() -> None:
    """14.1.1: first-pos = 1*DIGIT."""
    assert part(b"bytes=" + b"0" * 60_000 + b"5-" + b"0" * 60_000 + b"6") == (5, 7)


# -- 14.1, 14.1.1: the grammar ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [b"bytes", b"Bytes", b"BYTES"])
def test_a_range_unit_s_name_is_case_insensitive(unit: bytes) -> None:
    """14.1: "All range unit names are case-insensitive"."""
    assert part(unit + b"=0-4") == (0, 5)


@pytest.mark.parametrize(
    "value", [b"bytes=0-4", b" bytes=0-4\t", b"bytes= 0-4", b"bytes=0-4 ", b"bytes=,0-4,", b"bytes=\t, ,0-4 ,"]
)
def test_a_range_set_is_a_list_with_whitespace_and_empty_elements(value: bytes) -> None:
    """14.1.1: range-set = 1#range-spec; 5.6.1.2."""
    assert part(value) == (0, 5)


@pytest.mark.parametrize(
    "value",
    [b"bytes=5-4", b"bytes=10-9", b"bytes=20000-10000", b"bytes=1" + LONG + b"-" + LONG],
    ids=lambda value: ascii(value[:30]),
)
def test_a_range_whose_last_is_before_its_first_is_invalid(value: bytes) -> None:
    """14.1.1: "An int-range is invalid if the last-pos value is present and less than first-pos"; 14.2: MAY be ignored."""
    assert part(value) is None


# -- 14.2: what is ignored -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=,",
        b"bytes=-",
        b"bytes=--5",
        b"bytes=5",
        b"bytes=a-b",
        b"bytes=+5-6",
        b"bytes=5-+6",
        b"bytes=5 - 6",
        b"bytes=5- 6",
        b"bytes=5-6-7",
        b"bytes=0x5-",
        b"bytes=5_0-",
        b"bytes=\xb2-",
        b"bytes=\xd9\xa5-",
        b"bytes =0-4",
        b"bytes:0-4",
        b"bytes 0-4",
        b"0-4",
        b"bytes=0-4;x",
        b"bytes==0-4",
    ],
    ids=ascii,
)
def test_ignored_is_what_is_malformed(value: bytes) -> None:
    """14.2: "MAY ignore or reject a Range header field that contains an invalid ranges-specifier"."""
    assert part(value) is None
    assert part(value, 0) is None


@pytest.mark.parametrize("value", [b"lines=0-4", b"seconds=1-2", b"byte=0-4", b"none=0-4", b"x-bytes=0-4"])
def test_ignored_is_a_unit_that_is_not_understood(value: bytes) -> None:
    """14.2: "An origin server MUST ignore a Range header field that contains a range unit it does not understand"."""
    assert part(value) is None


@pytest.mark.parametrize("value", [b"bytes=0-4,6-9", b"bytes=0-4, -5", b"bytes=0-4,,0-4", b"bytes=20000-,30000-"])
def test_ignored_are_several_ranges(value: bytes) -> None:
    """14.2: "A server MAY ignore the Range header field"."""
    assert part(value) is None


def test_ignored_are_several_lines() -> None:
    """5.3: Range is no list, so two lines are malformed."""
    assert part(b"bytes=0-4", 10, (b"range", b"bytes=0-4")) is None


def test_absurd_numbers_cost_nothing() -> None:
    began = time.process_time()
    for _ in range(100):
        assert part(b"bytes=0-" + LONG) == (0, 10_000)
        assert part(b"bytes=" + b"," * 60_000) is None
    assert time.process_time() - began < 1


# -- 14.4, 15.5.17: Content-Range ------------------------------------------------------------------------------------


def test_content_range_names_the_last_byte_and_the_whole_length() -> None:
    """14.4: "Content-Range: bytes 42-1233/1234"."""
    assert content_range(42, 1234, 1234) == b"bytes 42-1233/1234"


def test_content_range_of_a_416_has_the_length_alone() -> None:
    """14.4, 15.5.17: "bytes */47022"."""
    status, body, headers = problems.answer_to(RangeNotSatisfiable(47022))
    answer = Answered(status, {"content-type": problems.CONTENT_TYPE.decode()}, body)
    assert "47,022 bytes" in check_problem(answer, 416)
    assert headers == [(b"content-range", b"bytes */47022")]


# -- 13.1.5: If-Range ------------------------------------------------------------------------------------------------


def with_if_range(*values: bytes, now_s: float = NOW_S) -> bool:
    return part(b"bytes=0-4", 10, *((b"if-range", value) for value in values), now_s=now_s) is not None


def test_if_range_is_true_where_the_tag_is_the_same() -> None:
    """13.1.5, "exactly matches the ETag field value ... using the strong comparison function"."""
    assert with_if_range(TAG)
    assert with_if_range(b" " + TAG + b"\t")


@pytest.mark.parametrize(
    "value", [b'"6"', b'"05"', b'W/"5"', b'"5', b"5", b'"5", "6"', b'"6", "5"', b"*", b"", b'w/"5"'], ids=ascii
)
def test_if_range_is_false_otherwise_and_the_range_ignored(value: bytes) -> None:
    """13.1.5, "MUST ignore the Range header field if the If-Range condition evaluates to false"."""
    assert not with_if_range(value)


def test_if_range_never_matches_a_weak_tag_also_where_ours_was_weak() -> None:
    """8.8.3.2: strong comparison, both must not be weak."""
    scope = scope_of("GET", b"/", [(b"range", b"bytes=0-4"), (b"if-range", b'W/"5"')])
    assert range_of(scope, 10, b'W/"5"', MODIFIED_S, now_s=NOW_S) is None


def test_if_range_that_is_false_is_no_416() -> None:
    """13.2.2, 5, before 15.5.17."""
    assert part(b"bytes=100-", 10, (b"if-range", b'"6"')) is None
    assert range_of(scope_of("GET", b"/", [(b"if-range", b'"6"'), (b"range", b"bytes=100-")]), 10, TAG, 0) is None


def test_if_range_that_is_true_may_be_a_416() -> None:
    with pytest.raises(RangeNotSatisfiable):
        part(b"bytes=100-", 10, (b"if-range", TAG))


def test_if_range_without_a_range_is_ignored() -> None:
    """13.1.5, "MUST ignore an If-Range header field received in a request that does not contain a Range"."""
    assert range_of(scope_of("GET", b"/", [(b"if-range", TAG)]), 10, TAG, MODIFIED_S) is None


def test_if_range_twice_matches_nothing() -> None:
    """5.3: it is no list."""
    assert not with_if_range(TAG, TAG)
    assert not with_if_range(TAG, TAG, TAG)
    assert not with_if_range(b"", TAG)


def test_if_range_with_a_date_is_true_where_it_is_exactly_last_modified() -> None:
    """13.1.5, 2: "this comparison by exact match ... differs from the "earlier than or equal to" comparison"."""
    assert with_if_range(http_date(MODIFIED_S))
    assert not with_if_range(http_date(MODIFIED_S + 1))
    assert not with_if_range(http_date(MODIFIED_S - 1))
    assert not with_if_range(b"Sunday, 06-Nov-94 08:49:37 GMT"), "it is not the field value that was sent"


@pytest.mark.parametrize(
    ("now_s", "matches"),
    [(MODIFIED_S - 5, False), (MODIFIED_S, False), (MODIFIED_S + 0.999, False), (MODIFIED_S + 1, True)],
)
def test_if_range_with_a_date_is_false_while_its_second_lasts(now_s: float, matches: bool) -> None:
    """13.1.5, 1; 8.8.2.2: strong where an answer's Date "is at least one second after the Last-Modified value"."""
    assert with_if_range(http_date(MODIFIED_S), now_s=now_s) is matches


def test_if_range_with_a_date_goes_by_the_clock_where_no_time_is_given() -> None:
    headers = [(b"range", b"bytes=0-4"), (b"if-range", http_date(MODIFIED_S))]
    assert range_of(scope_of("GET", b"/", headers), 10, TAG, MODIFIED_S) == (0, 5)


# -- anything --------------------------------------------------------------------------------------------------------

_PIECES = st.sampled_from([b"bytes", b"=", b"-", b",", b" ", b"0", b"5", b"10", b"99", b"\xff", b"lines"])


@given(
    st.binary(max_size=30)
    | st.lists(_PIECES, max_size=8).map(b"".join)
    | st.lists(_PIECES, max_size=5).map(lambda some: b"bytes=" + b"".join(some)),
    st.integers(0, 12),
)
def test_whatever_the_range_is_it_is_a_part_of_the_value_or_all_or_not_satisfiable(value: bytes, size: int) -> None:
    try:
        found = part(value, size)
    except RangeNotSatisfiable:
        return
    if found is not None:
        start, end = found
        assert 0 <= start < end <= size


@given(st.integers(0, 15), st.none() | st.integers(0, 15), st.integers(0, 12))
def test_an_int_range_is_python_s_slice(first: int, last: int | None, size: int) -> None:
    value = bytes(range(size))
    asked = b"bytes=%d-" % first + (b"" if last is None else b"%d" % last)
    wanted = value[first : None if last is None else last + 1]
    if last is not None and last < first:
        assert part(asked, size) is None
    elif not wanted:
        refused(asked, size)
    else:
        found = part(asked, size)
        assert found is not None
        assert value[slice(*found)] == wanted


@given(st.integers(1, 15), st.integers(1, 12))
def test_a_suffix_range_is_python_s_slice(length: int, size: int) -> None:
    value = bytes(range(size))
    found = part(b"bytes=-%d" % length, size)
    assert found is not None
    assert value[slice(*found)] == value[-length:]
