"""Head counts a value's JSON string without making it: as long as what msgspec makes, for any text."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
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


def test_bytes_that_are_no_text_are_counted_and_no_mistake() -> None:
    assert json_bytes(b"\xff\x00") == len('""') + 1 + len("\\u0000")
