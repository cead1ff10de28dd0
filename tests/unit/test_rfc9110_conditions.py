"""Conditions, by RFC 9110's sentences.

| section | what it says | here |
| --- | --- | --- |
| 13.1.1 | If-Match | `test_if_match_*` |
| 13.1.2 | If-None-Match | `test_if_none_match_*` |
| 13.1.3 | If-Modified-Since | `test_if_modified_since_*` |
| 13.1.4 | If-Unmodified-Since | `test_if_unmodified_since_*` |
| 13.2.1 | when to evaluate | `test_when_*` |
| 13.2.2 | precedence | `test_precedence_*`, `test_judge_agrees_with_the_steps_as_the_rfc_lists_them` |

How they are written: `test_rfc9110_entity_tags.py` (5.3, 5.6.1, 8.8.3), `test_rfc9110_dates.py` (5.6.7). Ranges and If-Range:
`test_rfc9110_ranges.py`.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.errors import InvalidRequest
from serve_app.http.conditions import condition_of
from serve_app.operations.condition import (
    ANY,
    EARLIEST_S,
    LATEST_S,
    MAX_REVISION,
    MAX_TAGS,
    NO_CONDITION,
    Condition,
    Verdict,
    judge,
)

GO_ON, NOT_MODIFIED, FAILED = Verdict.GO_ON, Verdict.NOT_MODIFIED, Verdict.FAILED
READ, WRITE = True, False

#: The RFC's own example, in its three formats.
EXAMPLE_S = 784_111_777
IMF = b"Sun, 06 Nov 1994 08:49:37 GMT"
RFC850 = b"Sunday, 06-Nov-94 08:49:37 GMT"
ASCTIME = b"Sun Nov  6 08:49:37 1994"


# -- no condition ----------------------------------------------------------------------------------------------------


def test_a_request_without_such_headers_has_the_one_empty_condition() -> None:
    assert condition_of([]) is NO_CONDITION
    assert condition_of([(b"host", b"a"), (b"if-range", b'"5"'), (b"range", b"bytes=0-")]) is NO_CONDITION


def test_a_request_whose_dates_are_all_ignored_has_it_too() -> None:
    assert condition_of([(b"if-modified-since", b"yesterday")]) is NO_CONDITION


@pytest.mark.parametrize("reading", [READ, WRITE])
@pytest.mark.parametrize("revision", [None, 5])
def test_where_nothing_is_asked_everything_goes_on(revision: int | None, reading: bool) -> None:
    assert judge(NO_CONDITION, revision, 1, reading) is GO_ON
    assert judge(Condition(), revision, 1, reading) is GO_ON, "as it comes from the wire"


# -- 13.1.1: If-Match ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", [READ, WRITE])
def test_if_match_asterisk_is_true_where_there_is_a_record(reading: bool) -> None:
    """13.1.1, 1."""
    condition = condition_of([(b"if-match", b" * ")])
    assert condition == Condition(if_match=(ANY,))
    assert judge(condition, 5, 0, reading) is GO_ON


def test_if_match_asterisk_is_false_where_there_is_no_record() -> None:
    """13.1.1, 1."""
    assert judge(Condition(if_match=(ANY,)), None, 0, WRITE) is FAILED


@pytest.mark.parametrize("reading", [READ, WRITE])
def test_if_match_is_true_where_any_listed_tag_matches(reading: bool) -> None:
    """13.1.1, 2."""
    assert judge(Condition(if_match=(4, 5)), 5, 0, reading) is GO_ON


@pytest.mark.parametrize("reading", [READ, WRITE])
def test_if_match_is_false_otherwise_and_the_method_must_not_be_performed(reading: bool) -> None:
    """13.1.1, 3; 13.2.2, 1."""
    assert judge(Condition(if_match=(4, 6)), 5, 0, reading) is FAILED
    assert judge(Condition(if_match=()), 5, 0, reading) is FAILED


def test_if_match_of_tags_is_false_where_there_is_no_record() -> None:
    """13.1.1, 3."""
    for tags in ((), (5,), (0,)):
        assert judge(Condition(if_match=tags), None, 0, WRITE) is FAILED


# -- 13.1.2: If-None-Match -------------------------------------------------------------------------------------------


def test_if_none_match_asterisk_is_false_where_there_is_a_record() -> None:
    """13.1.2, 1; 13.2.2, 3: 304 for GET and HEAD, 412 for other methods."""
    condition = condition_of([(b"if-none-match", b"*")])
    assert condition == Condition(if_none_match=(ANY,))
    assert judge(condition, 5, 0, READ) is NOT_MODIFIED
    assert judge(condition, 5, 0, WRITE) is FAILED


def test_if_none_match_asterisk_is_true_where_there_is_none() -> None:
    """13.1.2, 1: it keeps a PUT from changing what is there already."""
    assert judge(Condition(if_none_match=(ANY,)), None, 0, WRITE) is GO_ON


def test_if_none_match_is_false_where_a_listed_tag_matches() -> None:
    """13.1.2, 2."""
    assert judge(Condition(if_none_match=(4, 5)), 5, 0, READ) is NOT_MODIFIED
    assert judge(Condition(if_none_match=(4, 5)), 5, 0, WRITE) is FAILED


@pytest.mark.parametrize("reading", [READ, WRITE])
def test_if_none_match_is_true_otherwise(reading: bool) -> None:
    """13.1.2, 3."""
    for tags in ((), (4, 6)):
        assert judge(Condition(if_none_match=tags), 5, 0, reading) is GO_ON
        assert judge(Condition(if_none_match=tags), None, 0, reading) is GO_ON


# -- 13.1.3: If-Modified-Since ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modified_ms", "verdict"),
    [(9_999, NOT_MODIFIED), (10_000, NOT_MODIFIED), (10_999, NOT_MODIFIED), (11_000, GO_ON)],
)
def test_if_modified_since_is_false_where_last_modified_is_earlier_or_equal(modified_ms: int, verdict: Verdict) -> None:
    """13.1.3, 1 and 2: Last-Modified has whole seconds."""
    assert judge(Condition(modified_since_s=10), 5, modified_ms, READ) is verdict


def test_if_modified_since_is_ignored_where_there_is_if_none_match() -> None:
    """13.1.3, "MUST ignore If-Modified-Since if the request contains an If-None-Match header field"."""
    condition = Condition(if_none_match=(), modified_since_s=10)
    assert judge(condition, 5, 9_000, READ) is GO_ON


def test_if_modified_since_is_ignored_where_the_method_is_neither_get_nor_head() -> None:
    """13.1.3."""
    assert judge(Condition(modified_since_s=10), 5, 9_000, WRITE) is GO_ON


def test_if_modified_since_is_ignored_where_there_is_no_date_to_compare_with() -> None:
    """13.1.3, "if the resource does not have a modification date available"."""
    assert judge(Condition(modified_since_s=10), None, 0, READ) is GO_ON


@pytest.mark.parametrize("field", [b"if-modified-since", b"if-unmodified-since"])
@pytest.mark.parametrize("value", [IMF, b" " + IMF + b"\t", RFC850, ASCTIME], ids=ascii)
def test_if_modified_since_and_its_opposite_take_every_format(field: bytes, value: bytes) -> None:
    condition = condition_of([(field, value)])
    assert {condition.modified_since_s, condition.unmodified_since_s} == {EXAMPLE_S, None}
    assert (condition.modified_since_s is None) == (field == b"if-unmodified-since")


@pytest.mark.parametrize("field", [b"if-modified-since", b"if-unmodified-since"])
@pytest.mark.parametrize("lines", [(b"",), (b"0",), (b"*",), (IMF + b", " + IMF,), (IMF, IMF), (b"", IMF)], ids=ascii)
def test_if_modified_since_and_its_opposite_are_ignored_where_they_are_not_one_valid_date(
    field: bytes, lines: tuple[bytes, ...]
) -> None:
    """13.1.3, "not a valid HTTP-date, the field value has more than one member"; 13.1.4, "including when the field value
    appears to be a list of dates"."""
    assert condition_of([(field, line) for line in lines]) is NO_CONDITION


# -- 13.1.4: If-Unmodified-Since -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", [READ, WRITE])
@pytest.mark.parametrize(
    ("modified_ms", "verdict"),
    [(9_999, GO_ON), (10_000, GO_ON), (10_999, GO_ON), (11_000, FAILED)],
)
def test_if_unmodified_since_is_true_where_last_modified_is_earlier_or_equal(
    modified_ms: int, verdict: Verdict, reading: bool
) -> None:
    """13.1.4, 1 and 2."""
    assert judge(Condition(unmodified_since_s=10), 5, modified_ms, reading) is verdict


@pytest.mark.parametrize("reading", [READ, WRITE])
def test_if_unmodified_since_is_ignored_where_there_is_if_match(reading: bool) -> None:
    """13.1.4, "MUST ignore If-Unmodified-Since if the request contains an If-Match header field"."""
    assert judge(Condition(if_match=(5,), unmodified_since_s=10), 5, 99_000, reading) is GO_ON
    assert judge(Condition(if_match=(), unmodified_since_s=10), 5, 9_000, reading) is FAILED


@pytest.mark.parametrize("reading", [READ, WRITE])
def test_if_unmodified_since_is_ignored_where_there_is_no_record(reading: bool) -> None:
    """13.1.4, "MUST ignore ... if the resource does not have a modification date available"."""
    assert judge(Condition(unmodified_since_s=10), None, 99_000, reading) is GO_ON


# -- 13.2.1: when to evaluate ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", [(), (5,), (ANY,)])
def test_when_a_read_would_be_a_404_without_conditions_they_are_ignored(tags: tuple[int, ...]) -> None:
    """13.2.1, "MUST ignore all received preconditions if its response to the same request without those conditions ... would
    have been a status code other than a 2xx (Successful) or 412"."""
    assert judge(Condition(if_match=tags), None, 0, READ) is GO_ON
    assert judge(Condition(if_none_match=tags), None, 0, READ) is GO_ON


# -- 13.2.2: precedence ----------------------------------------------------------------------------------------------


def test_precedence_a_failed_if_match_wins_over_if_none_match() -> None:
    """13.2.2, 1 before 3."""
    assert judge(Condition(if_match=(4,), if_none_match=(5,)), 5, 0, READ) is FAILED


def test_precedence_after_a_true_if_match_comes_if_none_match() -> None:
    """13.2.2, 1: "if true, continue to step 3"."""
    assert judge(Condition(if_match=(5,), if_none_match=(5,)), 5, 0, READ) is NOT_MODIFIED
    assert judge(Condition(if_match=(5,), if_none_match=(5,)), 5, 0, WRITE) is FAILED


def test_precedence_a_failed_if_unmodified_since_wins_over_if_modified_since() -> None:
    """13.2.2, 2 before 4."""
    assert judge(Condition(modified_since_s=20, unmodified_since_s=5), 5, 10_000, READ) is FAILED


def test_precedence_after_a_true_if_unmodified_since_comes_if_none_match() -> None:
    """13.2.2, 2: "if true, continue to step 3"."""
    assert judge(Condition(if_none_match=(5,), unmodified_since_s=20), 5, 10_000, READ) is NOT_MODIFIED


def test_precedence_a_true_if_none_match_does_not_go_on_to_if_modified_since() -> None:
    """13.2.2, 3: "if true, continue to step 5"."""
    assert judge(Condition(if_none_match=(4,), modified_since_s=20), 5, 10_000, READ) is GO_ON


def steps(condition: Condition, revision: int | None, modified_ms: int, reading: bool) -> Verdict:
    """13.2.1, then 13.2.2's steps, one `if` for each of its sentences."""
    if reading and revision is None:
        return GO_ON
    last_modified = None if revision is None else modified_ms // 1000
    wanted, unwanted = condition.if_match, condition.if_none_match
    step = 1
    if step == 1:
        if wanted is not None:
            true = revision is not None and any(tag in (ANY, revision) for tag in wanted)
            if not true:
                return FAILED
            step = 3
        else:
            step = 2
    if step == 2:
        since = condition.unmodified_since_s
        if since is not None and last_modified is not None and not last_modified <= since:
            return FAILED
        step = 3
    if step == 3:
        if unwanted is not None:
            false = revision is not None and any(tag in (ANY, revision) for tag in unwanted)
            if false:
                return NOT_MODIFIED if reading else FAILED
            step = 5
        else:
            step = 4
    if step == 4 and reading:
        since = condition.modified_since_s
        if since is not None and last_modified is not None and not last_modified > since:
            return NOT_MODIFIED
    return GO_ON


TAGS = st.none() | st.lists(st.sampled_from([ANY, 0, 1, 2, MAX_REVISION]), max_size=3).map(tuple)
DATES = st.none() | st.integers(-1, 3)
CONDITIONS = st.builds(Condition, TAGS, TAGS, DATES, DATES)


@given(CONDITIONS, st.none() | st.sampled_from([0, 1, 2, 3, MAX_REVISION]), st.integers(0, 3999), st.booleans())
def test_judge_agrees_with_the_steps_as_the_rfc_lists_them(
    condition: Condition, revision: int | None, modified_ms: int, reading: bool
) -> None:
    assert judge(condition, revision, modified_ms, reading) is steps(condition, revision, modified_ms, reading)


# -- on the wire -----------------------------------------------------------------------------------------------------


@given(CONDITIONS)
def test_a_condition_crosses_the_wire_and_has_no_problem(condition: Condition) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(condition), type=Condition) == condition
    assert condition.problem() == ""


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (Condition(if_match=(5,) * (MAX_TAGS + 1)), "at most 64"),
        (Condition(if_none_match=(5,) * (MAX_TAGS + 1)), "at most 64"),
        (Condition(if_match=(-2,)), "no revision"),
        (Condition(if_none_match=(5, MAX_REVISION + 1)), "no revision"),
        (Condition(modified_since_s=EARLIEST_S - 1), "date"),
        (Condition(unmodified_since_s=LATEST_S + 1), "date"),
    ],
)
def test_what_no_directory_sends_is_a_problem(condition: Condition, says: str) -> None:
    assert says in condition.problem()


def test_the_bounds_themselves_are_none() -> None:
    tags = (ANY, 0, MAX_REVISION) + (5,) * (MAX_TAGS - 3)
    assert Condition(tags, tags, EARLIEST_S, LATEST_S).problem() == ""


_HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"host"]),
        st.binary(max_size=40)
        | st.lists(
            st.sampled_from([b'"5"', b'W/"6"', b"*", b",", b" ", b'"', b"W/", b"05", IMF, RFC850]), max_size=6
        ).map(b"".join),
    ),
    max_size=4,
)


@given(_HEADERS)
def test_whatever_the_headers_are_they_make_a_condition_or_an_invalid_request(
    headers: list[tuple[bytes, bytes]],
) -> None:
    try:
        condition = condition_of(headers)
    except InvalidRequest:
        return
    assert condition.problem() == ""
    names = {name for name, _ in headers}
    assert (condition.if_match is not None) == (b"if-match" in names), "a condition is never left out"
    assert (condition.if_none_match is not None) == (b"if-none-match" in names)
