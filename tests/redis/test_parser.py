"""Bytes to commands: however they are cut, and what is none of Redis'."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.redis.parser import MAX_LINE_BYTES, Parser, ProtocolError, split_words
from serve_app.redis.patterns import literal_prefix, matcher

COMMANDS = [
    [b"SET", b"a", b"\r\n*1\r\n$"],
    [b"GET", b""],
    [b"PING"],
    [b"SET", b"b", b"x" * 3000],
    [b"MGET", *[b"k"] * 50],
]


def encoded(words: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def parsed(*pieces: bytes, known: bool = True, argument: int = 10_000, command: int = 100_000) -> list[list[bytes]]:
    parser, found = Parser(argument, command), list[list[bytes]]()
    parser.known = known
    for piece in pieces:
        parser.feed(piece, found)
    assert parser.held_bytes == 0, "all of it was whole"
    return found


def test_commands_are_the_same_wherever_they_are_cut() -> None:
    whole = b"".join(map(encoded, COMMANDS)) + b"inline 'a b' \"\\x41\"\r\nGET k\n"
    wanted = [*COMMANDS, [b"inline", b"a b", b"A"], [b"GET", b"k"]]
    assert parsed(whole) == wanted
    assert parsed(*(whole[at : at + 1] for at in range(len(whole)))) == wanted
    for at in range(len(whole)):
        assert parsed(whole[:at], whole[at:]) == wanted


@given(st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=4), max_size=4), st.lists(st.integers(0, 200)))
def test_any_words_come_through(commands: list[list[bytes]], cuts: list[int]) -> None:
    whole = b"".join(map(encoded, commands))
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[start:end] for start, end in pairwise(edges)]
    assert parsed(*pieces) == commands


def test_nothing_asked_is_nothing() -> None:
    assert parsed(b"*0\r\n\r\n\n*-1\r\n   \r\nPING\r\n") == [[b"PING"]]


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*1_0\r\n", "invalid multibulk length"),
        (b"*3000000000\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*" + b"1" * 1000 + b"\r\n", "invalid multibulk length"),
        (b"*1\r\nfoo\r\n", "expected '$', got 'f'"),
        (b"*1\r\n*1\r\n$1\r\na\r\n", "expected '$', got '*'"),
        (b"*2\r\n$3\r\nGET\r\n$x\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$-1\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$10001\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$99999999999999999999\r\n", "invalid bulk length"),
        (b'SET "a\r\n', "unbalanced quotes in request"),
        (b"SET 'a'b\r\n", "unbalanced quotes in request"),
        (b"x" * MAX_LINE_BYTES, "too big inline request"),
        (b"*" + b"1" * MAX_LINE_BYTES, "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * MAX_LINE_BYTES, "too big bulk count string"),
        (b"*100\r\n" + b"$9999\r\n%b\r\n" % (b"x" * 9999) * 11, "invalid bulk length"),
    ],
)
def test_what_is_no_command_is_said_as_redis_says_it(sent: bytes, says: str) -> None:
    for size in (len(sent), 7919, 1):
        if size == 1 and len(sent) > 5000:
            continue
        parser, found = Parser(10_000, 100_000), list[list[bytes]]()
        with pytest.raises(ProtocolError, match=re.escape(says)):  # noqa: PT012 # in whichever piece
            for at in range(0, len(sent), size):
                parser.feed(sent[at : at + size], found)
        assert found == []


def test_what_came_before_is_there_all_the_same() -> None:
    parser, found = Parser(100, 1000), list[list[bytes]]()
    with pytest.raises(ProtocolError):
        parser.feed(b"PING\r\n*x\r\n", found)
    assert found == [[b"PING"]]


def test_strangers_may_say_little() -> None:
    assert parsed(encoded([b"HELLO", b"3", b"AUTH", b"default", b"x" * 1000]), known=False)
    for sent in (b"*11\r\n", b"*1\r\n$20000\r\n"):
        with pytest.raises(ProtocolError, match="unauthenticated"):
            parsed(sent, known=False, argument=10**6)


def test_what_is_held_of_a_command_is_counted() -> None:
    parser, found = Parser(10**6, 10**8), list[list[bytes]]()
    parser.feed(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n", found)
    before = parser.held_bytes
    for _ in range(9):
        parser.feed(b"x" * 10_000, found)
    assert 90_000 <= parser.held_bytes - before <= 90_100
    parser.feed(b"x" * 10_000 + b"\r\n", found)
    assert (parser.held_bytes, len(found)) == (0, 1)


@pytest.mark.parametrize(
    ("line", "words"),
    [(b"  a  b ", [b"a", b"b"]), (b'"a b"c', None), (b'"\\n\\x00\\q"', [b"\n\0q"]), (b"'a\\'b\\n'", [b"a'b\\n"]),
     (b'a"b"', [b"ab"]), (b'"', None), (b"''", [b""])],
)  # fmt: skip
def test_inline_words(line: bytes, words: list[bytes] | None) -> None:
    if words is None:
        with pytest.raises(ProtocolError, match="unbalanced quotes"):
            split_words(line)
    else:
        assert split_words(line) == words


@pytest.mark.parametrize(
    ("pattern", "fits", "not_"),
    [
        (b"*", [b"", b"a"], []),
        (b"a*", [b"a", b"ab"], [b"ba", b""]),
        (b"*a", [b"a", b"ba", b"aa"], [b"ab"]),
        (b"a*b*c", [b"abc", b"axbxc", b"abbcc"], [b"acb", b"ab"]),
        (b"h?llo", [b"hello", b"h\nllo"], [b"hllo", b"heello"]),
        (b"h[ae]llo", [b"hello", b"hallo"], [b"hillo"]),
        (b"h[^e]llo", [b"hallo"], [b"hello", b"hllo"]),
        (b"h[a-c]", [b"ha", b"hc"], [b"hd"]),
        (b"h[c-a]", [b"hb"], [b"hd"]),
        (b"a\\*", [b"a*"], [b"ab"]),
        (b"[\\]a]", [b"]", b"a"], [b"b"]),
        (b"a[", [], [b"a", b"a["]),
        (b"a.b", [b"a.b"], [b"axb"]),
        (b"*ab*ab*", [b"abab", b"xabxabx"], [b"ab", b"aba"]),
        (b"ab*ab", [b"abab"], [b"ab", b"aab"]),
    ],
)
def test_patterns_are_those_of_redis(pattern: bytes, fits: list[bytes], not_: list[bytes]) -> None:
    matches = matcher(pattern)
    assert [key for key in [*fits, *not_] if matches(key)] == fits
    assert all(key.startswith(literal_prefix(pattern)) for key in fits)


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    """Backtracking would take longer than the test may."""
    assert not matcher(b"a*" * 500 + b"b")(b"a" * 1024)
