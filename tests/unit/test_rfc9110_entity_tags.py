"""Entity tags and lists of them, by RFC 9110's sentences.

| section | what it says | here |
| --- | --- | --- |
| 5.3, 5.6.1 | lines of one field are one list; empty elements | `test_lists_*` |
| 8.8.3 | entity tags, weak and strong comparison | `test_tags_*` |
"""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serve_app.errors import InvalidRequest
from serve_app.http.conditions import condition_of, etag
from serve_app.operations.condition import MAX_REVISION, MAX_TAGS, Verdict, judge

GO_ON, FAILED = Verdict.GO_ON, Verdict.FAILED
WRITE = False


def if_match(*lines: bytes) -> tuple[int, ...] | None:
    return condition_of([(b"if-match", line) for line in lines]).if_match


def if_none_match(*lines: bytes) -> tuple[int, ...] | None:
    return condition_of([(b"if-none-match", line) for line in lines]).if_none_match


# -- 8.8.3: entity tags ----------------------------------------------------------------------------------------------


def test_tags_are_the_revision_in_quotes_and_strong() -> None:
    """8.8.3."""
    assert etag(0) == b'"0"'
    assert etag(MAX_REVISION) == b'"18446744073709551615"'


@given(st.integers(0, MAX_REVISION))
@example(MAX_REVISION)
def test_tags_that_were_given_are_understood(revision: int) -> None:
    assert if_match(etag(revision)) == if_none_match(etag(revision)) == (revision,)


@pytest.mark.parametrize(
    "opaque",
    [
        b"",
        b"05",
        b"00",
        b"+5",
        b"-1",
        b"-5",
        b"5.0",
        b"5,6",
        b"0x5",
        b"five",
        b"\\5",
        b"*",
        b"\xd9\xa5",
        b"\xb2",
        b"!#~\x80\xff",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("weak", [b"", b"W/"])
def test_tags_that_are_no_revision_match_nothing_and_stay_a_condition(opaque: bytes, weak: bytes) -> None:
    """8.8.3: opaque; 13.1.1: none of the listed tags match."""
    tag = weak + b'"' + opaque + b'"'
    assert if_match(tag) == if_none_match(tag) == ()
    assert judge(condition_of([(b"if-match", tag)]), 5, 0, WRITE) is FAILED
    assert judge(condition_of([(b"if-none-match", tag)]), 5, 0, WRITE) is GO_ON


def test_tags_of_numbers_beyond_u64_match_nothing_at_no_cost() -> None:
    assert if_match(b'"18446744073709551616"') == ()
    assert if_match(b'"' + b"9" * 60_000 + b'"') == ()


def test_tags_that_are_weak_never_match_by_the_strong_comparison() -> None:
    """8.8.3.2, 13.1.1: "MUST use the strong comparison function"."""
    assert if_match(b'W/"5"') == ()
    assert if_match(b'W/"5", "6"') == (6,)


def test_tags_that_are_weak_match_by_the_weak_comparison() -> None:
    """8.8.3.2, 13.1.2: "MUST use the weak comparison function"."""
    assert if_none_match(b'W/"5"') == (5,)


@pytest.mark.parametrize(
    "value",
    [
        b"5",
        b"'5'",
        b'"5',
        b'5"',
        b'"',
        b'"5 "',
        b'" 5"',
        b'"5\t"',
        b'"5\x7f"',
        b'"5\x00"',
        b'w/"5"',
        b'W"5"',
        b'W/ "5"',
        b"W/5",
        b"W/",
        b'"5" "6"',
        b'"5""6"',
        b'"5";"6"',
        b'"5", 6',
        b'"5",\x0b"6"',
        b'"5", W/',
        b"null",
    ],
    ids=ascii,
)
def test_tags_that_are_malformed_are_refused_and_never_left_out(value: bytes) -> None:
    """8.8.3: etagc has no space, no DEL, no control; "W/" is case-sensitive. 5.6.1: commas between."""
    for field in (b"if-match", b"if-none-match"):
        with pytest.raises(InvalidRequest, match="entity tags") as caught:
            condition_of([(field, value)])
        assert len(str(caught.value)) < 300
        assert str(caught.value).isascii()


# -- 5.3 and 5.6.1: lists --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        b'"5","6"',
        b'"5", "6"',
        b' \t"5"\t,\t "6" ',
        b',"5",,"6",',
        b', ,\t,"5" , ,"6",,  ,',
        b'"5"' + b"," * 5000 + b'"6"',
    ],
    ids=lambda value: ascii(value[:30]),
)
def test_lists_may_have_whitespace_and_empty_elements(value: bytes) -> None:
    """5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements"."""
    assert if_match(value) == if_none_match(value) == (5, 6)


def test_lists_in_several_lines_are_one() -> None:
    """5.3."""
    assert if_match(b'"5"', b'"6", "7"') == (5, 6, 7)
    assert if_match(b"", b'"5"', b",") == (5,)


def test_lists_do_not_take_a_tag_apart_over_two_lines() -> None:
    with pytest.raises(InvalidRequest):
        if_match(b'"5', b'6"')


@pytest.mark.parametrize("lines", [(b"",), (b"  ",), (b",",), (b" , ,\t",), (b"", b"")], ids=ascii)
def test_lists_without_an_element_are_refused(lines: tuple[bytes, ...]) -> None:
    """5.6.1: 1#element has one element at least."""
    with pytest.raises(InvalidRequest, match="empty"):
        if_match(*lines)
    with pytest.raises(InvalidRequest, match="empty"):
        if_none_match(*lines)


@pytest.mark.parametrize(
    "lines",
    [(b'*, "5"',), (b'"5", *',), (b'"5",*,"6"',), (b"*", b'"5"'), (b'"5"', b"*"), (b"*", b"*"), (b"*,",), (b"**",)],
    ids=ascii,
)
def test_lists_do_not_mix_the_asterisk_with_tags(lines: tuple[bytes, ...]) -> None:
    """13.1.1, 13.1.2: "*" / #entity-tag, one or the other."""
    with pytest.raises(InvalidRequest, match="alone"):
        if_match(*lines)
    with pytest.raises(InvalidRequest, match="alone"):
        if_none_match(*lines)


def test_lists_are_bounded_whatever_their_tags_are() -> None:
    for tag in (b'"5"', b'"none-of-ours"', b'W/"5"'):
        assert if_match(b",".join([tag] * MAX_TAGS)) is not None
        with pytest.raises(InvalidRequest, match=f"more than {MAX_TAGS}"):
            if_match(b",".join([tag] * (MAX_TAGS + 1)))
        with pytest.raises(InvalidRequest, match=f"more than {MAX_TAGS}"):
            if_none_match(*[tag] * (MAX_TAGS + 1))


@pytest.mark.parametrize(
    "value",
    [b" \t" * 30_000 + b"x", b'"5"' + b" " * 60_000 + b"x", b'"' * 60_000, b"," * 60_000, b'"' + b"5" * 60_000],
    ids=lambda value: ascii(value[:10]),
)
def test_lists_of_any_length_are_read_in_one_go(value: bytes) -> None:
    began = time.process_time()
    with pytest.raises(InvalidRequest):
        if_match(value)
    assert time.process_time() - began < 1, "what is squared takes minutes"
