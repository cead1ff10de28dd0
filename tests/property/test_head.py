"""Head counts a value's JSON string without making it: as long as what msgspec makes, for any text."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serve_app.operations import Described, Head
from serve_app.records import Record, encode


def json_bytes(value: bytes) -> int:
    answer = Head(b"k").answer(encode(Record(value, "text/plain", 7, 1, 2)))
    assert isinstance(answer, Described)
    assert (answer.content_type, answer.revision) == ("text/plain", 7)
    return answer.json_bytes


@given(st.text(st.characters(codec="utf-8")))
def test_any_text(text: str) -> None:
    assert json_bytes(text.encode()) == len(msgspec.json.encode(text))


@pytest.mark.parametrize("character", [*map(chr, range(0x100)), "\u2028", "\ud7ff", "\U0010ffff"], ids=ascii)
def test_every_character_that_may_be_escaped(character: str) -> None:
    assert json_bytes(character.encode()) == len(msgspec.json.encode(character))


@given(st.binary(min_size=1).filter(lambda value: not is_utf8(value)))
@example(b"\xff\x00")
def test_bytes_that_are_no_text_have_no_such_length_and_are_no_mistake(value: bytes) -> None:
    """0 is no text's length: even an empty one has its quotes."""
    assert json_bytes(value) == 0
    described = Head(b"k").answer(encode(Record(value, "text/plain", 7, 1, 2, 3)))
    assert described == Described(0, "text/plain", 7, len(value), 2, 3)


@given(st.binary())
def test_nobody_who_does_not_ask_for_it_has_it_counted(value: bytes) -> None:
    described = Head(b"k", as_json=False).answer(encode(Record(value, "text/plain", 7, 1, 2)))
    assert described == Described(0, "text/plain", 7, len(value), 2)


def is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
