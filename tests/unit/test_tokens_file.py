"""The tokens file: what is taken of it, what is not, and what stays when it is edited."""

from __future__ import annotations

import hashlib

import pytest

from serve_app.auth.tokens_file import (
    MAX_FILE_BYTES,
    MAX_LINE_BYTES,
    MAX_TOKENS,
    BadTokens,
    TokenLine,
    parse,
    token_line,
    with_token,
    without_token,
)

HASH = "sha256:" + "ab" * 32
DIGEST = bytes.fromhex("ab" * 32)


def hashed(number: int) -> str:
    return "sha256:" + hashlib.sha256(b"%d" % number).hexdigest()


def test_a_line_is_a_token() -> None:
    assert parse(f"backup read {HASH}".encode()) == (TokenLine("backup", ("read",), b"", DIGEST),)
    assert parse(f"a.B_1- read,write,admin prefix=team%20a/%C3%A9#x {HASH}\n".encode()) == (
        TokenLine("a.B_1-", ("read", "write", "admin"), "team a/é#x".encode(), DIGEST),
    )


def test_comments_blank_lines_and_windows_line_ends_say_nothing() -> None:
    text = f"# Zoë's\n\n  \t\n  # {HASH}\nbackup \t read {HASH}\r\n\r\n"
    assert [token.name for token in parse(text.encode())] == ["backup"]
    assert parse(b"") == ()


@pytest.mark.parametrize("count", [1, MAX_TOKENS])
def test_a_file_may_name_many(count: int) -> None:
    assert len(parse("\n".join(f"t{number} read {hashed(number)}" for number in range(count)).encode())) == count


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("backup", "it is not `name scope"),
        (f"backup read {HASH} more", "it is not `name scope"),
        (f"backup read prefix=a {HASH} more", "it is not `name scope"),
        (f"backup read for=a {HASH}", "it is not `name scope"),
        (f"backup {HASH}", "it is not `name scope"),
        ("backup read sha256:" + "ab" * 31, "does not end in sha256: and 64 hex digits"),
        ("backup read sha256:" + "ab" * 33, "does not end in sha256: and 64 hex digits"),
        ("backup read sha256:" + "AB" * 32, "does not end in sha256: and 64 hex digits"),
        ("backup read " + "ab" * 32, "does not end in sha256: and 64 hex digits"),
        ("backup read cs_secret", "does not end in sha256: and 64 hex digits"),
        (f"back/up read {HASH}", "'back/up' is no name of a token"),
        (f"{'x' * 65} read {HASH}", "is no name of a token"),
        (f"backup reed {HASH}", "'reed' is no scope: it is one of read, write, admin"),
        (f"backup read,,write {HASH}", "'' is no scope"),
        (f"backup READ {HASH}", "'READ' is no scope"),
        (f"backup read,read {HASH}", "a scope is there twice"),
        (f"backup read prefix= {HASH}", "the prefix is empty; leave it out for all keys"),
        (f"backup read prefix=100% {HASH}", "'%' that is not followed by two hex digits"),
        (f"backup read prefix=%zz {HASH}", "'%' that is not followed by two hex digits"),
        (f"backup read prefix=%C3 {HASH}", "the prefix is not UTF-8"),
        (f"backup read prefix={'k' * 1025} {HASH}", "the prefix has 1,025 bytes, and no key more than 1,024"),
        (f"backup read prefix=é {HASH}", "it is not ASCII; a prefix is percent-encoded"),
        (f"good read {HASH}", "the name 'good' is that of line 2"),
        (f"other read {hashed(0)}", "the token is that of line 2"),
        ("#" * (MAX_LINE_BYTES + 1), "at most 4,096 are taken"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_of_the_file_is_taken(line: str, sentence: str) -> None:
    with pytest.raises(BadTokens) as refused:
        parse(f"# first\ngood read {hashed(0)}\n{line}\nlast read {hashed(1)}".encode())
    assert str(refused.value).startswith("line 3: ")
    assert sentence in str(refused.value)


def test_the_longest_prefix_is_as_long_as_a_key() -> None:
    (token,) = parse(f"backup read prefix={'%20' * 1024} {HASH}".encode())
    assert token.prefix == b" " * 1024


def test_what_can_grow_has_bounds() -> None:
    parse(b"#" * MAX_LINE_BYTES)
    many = "\n".join(f"t{number} read {hashed(number)}" for number in range(MAX_TOKENS + 1))
    with pytest.raises(BadTokens, match="there are more than 4,096 tokens"):
        parse(many.encode())
    parse(b"\n" * MAX_FILE_BYTES)
    with pytest.raises(BadTokens, match="at most 1,048,576 are taken"):
        parse(b"\n" * (MAX_FILE_BYTES + 1))


def test_a_sentence_of_what_is_wrong_does_not_repeat_all_of_it() -> None:
    for line in (f"{'x' * 4000} read {HASH}", f"a {'x' * 4000} {HASH}"):
        with pytest.raises(BadTokens) as refused:
            parse(line.encode())
        assert len(str(refused.value)) < 200


def test_a_token_that_is_written_is_read_as_it_was() -> None:
    for prefix in (b"", b"a/", "é %#\n".encode(), b"prefix=x"):
        token = token_line("backup", "write,read", prefix, DIGEST)
        assert parse(str(token).encode()) == (token,)


@pytest.mark.parametrize("before", ["", "# mine\n", "# mine", f"# mine\r\n\n  old read {hashed(0)}  \n# the end"])
def test_a_token_is_added_at_the_end_and_all_else_stays(before: str) -> None:
    token = token_line("new", "read", b"", DIGEST)
    after = with_token(before.encode(), token)
    assert after.startswith(before.encode())
    assert after.endswith(f"\nnew read {HASH}\n".encode() if before else f"new read {HASH}\n".encode())
    assert parse(after)[-1] == token


def test_a_name_is_given_once_at_a_time() -> None:
    text = with_token(b"", token_line("new", "read", b"", DIGEST))
    with pytest.raises(BadTokens, match="there is a token named 'new' already"):
        with_token(text, token_line("new", "write", b"", bytes(32)))


def test_no_token_is_added_that_there_is_no_room_for() -> None:
    full = "\n".join(f"t{number} read {hashed(number)}" for number in range(MAX_TOKENS)).encode()
    with pytest.raises(BadTokens, match="more than 4,096 tokens"):
        with_token(full, token_line("new", "read", b"", DIGEST))


def test_a_token_is_taken_out_and_all_else_stays() -> None:
    first, last = f"# a\r\n\na read {hashed(0)}\r\n# b\n", f"c read {hashed(2)}"
    text = f"{first}b read {hashed(1)}\n{last}".encode()
    assert without_token(text, "b") == (first + last).encode()
    assert [token.name for token in parse(without_token(text, "c"))] == ["a", "b"]
    with pytest.raises(BadTokens, match="there is no token named 'd'"):
        without_token(text, "d")


def test_a_file_that_is_wrong_is_not_edited() -> None:
    with pytest.raises(BadTokens, match="line 1: "):
        with_token(b"x", token_line("new", "read", b"", DIGEST))
    with pytest.raises(BadTokens, match="line 1: "):
        without_token(b"x", "x")


@pytest.mark.parametrize(
    ("name", "scopes", "prefix"), [("a b", "read", b""), ("a", "all", b""), ("a", "read", b"\xff"), ("a", "", b"")]
)
def test_what_a_file_could_not_say_is_not_asked_for(name: str, scopes: str, prefix: bytes) -> None:
    with pytest.raises(BadTokens):
        token_line(name, scopes, prefix, DIGEST)
