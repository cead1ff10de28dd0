"""Tokens as a directory knows them: what each allows, and what becomes of them when their file changes."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from serve_app.auth import tokens as tokens_module
from serve_app.auth.access import OPEN, Access, access_of, grant
from serve_app.auth.secret import digest_of, new_token
from serve_app.auth.tokens import Tokens
from serve_app.errors import Forbidden, Unauthorized


def line(name: str, token: str, scopes: str = "read", prefix: str = "") -> str:
    return f"{name} {scopes} {prefix} sha256:{digest_of(token.encode()).hex()}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(line("reader", "cs_r") + line("team", "cs_t", "read,write", "prefix=team/"))
    return path


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Events from INFO on."""
    logger = logging.getLogger("serve_app")
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level("INFO", "serve_app")
    return caplog


def events_of(logged: pytest.LogCaptureFixture, level: int) -> list[Any]:
    return [record.fields for record in logged.records if record.levelno == level]  # type: ignore[attr-defined]


def names(tokens: Tokens, *presented: str) -> list[str | None]:
    found = (tokens.find(token.encode()) for token in presented)
    return [access.name if access else None for access in found]


# -- what one allows -------------------------------------------------------------------------------------------------


def test_a_scope_that_a_token_lacks_is_named() -> None:
    reader = Access("reader", frozenset({"read"}))
    reader.require("read", b"any")
    with pytest.raises(Forbidden, match="the token 'reader' lacks the scope 'write'"):
        reader.require("write", b"any")
    with pytest.raises(Forbidden, match="lacks the scope 'admin'"):
        Access("both", frozenset({"read", "write"})).require("admin")
    with pytest.raises(Forbidden, match="lacks the scope 'read'"):
        Access("admin", frozenset({"admin"})).require("read")


def test_a_token_with_a_prefix_is_for_keys_that_begin_with_it() -> None:
    team = Access("team", frozenset({"read", "admin"}), b"team/")
    team.require("read")
    team.require("admin")
    team.require("read", b"team/")
    team.require("read", b"team/x")
    for key in (b"tea", b"team", b"x", b"x/team/", b""):
        with pytest.raises(Forbidden, match="the token 'team' is for keys that begin with 'team/' alone"):
            team.require("read", key)


def test_what_is_listed_begins_with_the_tokens_prefix() -> None:
    team = Access("team", frozenset({"read"}), b"team/")
    team.require_prefix("read", b"team/")
    team.require_prefix("read", b"team/x")
    for prefix in (b"", b"team", b"other/"):
        with pytest.raises(Forbidden, match="'team/'"):
            team.require_prefix("read", prefix)
    with pytest.raises(Forbidden, match="lacks the scope"):
        team.require_prefix("write", b"team/")
    Access("all", frozenset({"read"})).require_prefix("read", b"")


def test_without_tokens_everything_is_allowed() -> None:
    for scope in ("read", "write", "admin"):
        OPEN.require(scope, b"any")
        OPEN.require_prefix(scope, b"")


def test_where_nothing_is_allowed_each_refusal_is_an_error_of_its_own() -> None:
    nobody = Access("", frozenset({"read"}), refusal=lambda: Unauthorized("no"))
    raised = []
    for _ in range(2):
        with pytest.raises(Unauthorized) as refused:
            nobody.require("read")
        raised.append(refused.value)
    assert raised[0] is not raised[1], "else the tracebacks of all of them would be kept"


def test_a_request_that_nobody_judged_may_do_nothing() -> None:
    scope: dict[str, Any] = {}
    with pytest.raises(KeyError):
        access_of(scope)
    grant(scope, OPEN)
    assert access_of(scope) is OPEN


def test_a_long_prefix_is_not_repeated_in_full() -> None:
    with pytest.raises(Forbidden) as refused:
        Access("team", frozenset({"read"}), b"x" * 1000).require("read", b"k")
    assert len(str(refused.value)) < 200


# -- looking one up --------------------------------------------------------------------------------------------------


def test_a_token_is_found_by_all_of_it(file: Path) -> None:
    tokens = Tokens(file)
    assert names(tokens, "cs_r", "cs_t", "cs_", "cs_r ", "CS_R", "") == ["reader", "team", None, None, None, None]
    team = tokens.find(b"cs_t")
    assert team == Access("team", frozenset({"read", "write"}), b"team/")


def test_a_hash_is_no_token(file: Path) -> None:
    assert names(Tokens(file), digest_of(b"cs_r").hex(), "sha256:" + digest_of(b"cs_r").hex()) == [None, None]


def test_a_new_token_is_long_and_says_what_it_is() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    for token in made:
        assert token.startswith("cs_")
        assert len(token) == 3 + 43, "256 bits in base64"


# -- when the file changes -------------------------------------------------------------------------------------------


def test_a_changed_file_is_read_again(file: Path) -> None:
    tokens = Tokens(file)
    file.write_text(line("new", "cs_n"))
    assert names(tokens, "cs_r", "cs_n") == ["reader", None], "not before it is looked at"
    tokens.look_again()
    assert names(tokens, "cs_r", "cs_n") == [None, "new"]


def test_one_of_the_same_length_and_time_in_its_place_is_read(file: Path) -> None:
    tokens = Tokens(file)
    before = file.stat()
    other = file.with_name("other")
    other.write_text(file.read_text().replace("reader", "writer"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    tokens.look_again()
    assert names(tokens, "cs_r") == ["writer"]


def test_a_secret_that_kubernetes_exchanges_is_read(tmp_path: Path) -> None:
    """Its mounts are links: tokens -> ..data/tokens, ..data -> a folder, of which the latter is exchanged."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "tokens").write_text(line(f"token{version}", f"cs_{version}"))
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "tokens").symlink_to("..data/tokens")
    tokens = Tokens(tmp_path / "tokens")
    assert names(tokens, "cs_1", "cs_2") == ["token1", None]
    (tmp_path / "..new").symlink_to("2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    tokens.look_again()
    assert names(tokens, "cs_1", "cs_2") == [None, "token2"]


def test_one_that_is_as_it_was_is_not_parsed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(file)
    monkeypatch.setattr(tokens_module, "parse", lambda text: pytest.fail("it has not changed"))
    tokens.look_again()


@pytest.mark.parametrize("spoil", ["wrong", "gone", "a folder", "a pipe", "too long", "unreadable link"])
def test_a_file_that_is_wrong_or_gone_keeps_the_tokens_and_is_said_once(
    file: Path, spoil: str, logged: pytest.LogCaptureFixture
) -> None:
    tokens = Tokens(file)
    assert tokens.problem == ""
    text = file.read_text()
    file.unlink()
    match spoil:
        case "wrong":
            file.write_text(text + "nonsense\n")
        case "a folder":
            file.mkdir()
        case "a pipe":
            os.mkfifo(file)
        case "too long":
            file.write_text("#\n" * 600_000)
        case "unreadable link":
            file.symlink_to(file)
    for _ in range(3):
        tokens.look_again()
    assert names(tokens, "cs_r", "cs_t") == ["reader", "team"]
    (said,) = events_of(logged, logging.ERROR)
    assert said["problem"] == tokens.problem
    assert str(file) in tokens.problem
    assert "the tokens that were read before stay" in tokens.problem


def test_a_file_that_is_mended_is_taken_and_breaking_it_again_is_said_again(
    file: Path, logged: pytest.LogCaptureFixture
) -> None:
    tokens = Tokens(file)
    for _ in range(2):
        file.write_text("nonsense")
        tokens.look_again()
        assert "line 1" in tokens.problem
        file.write_text(line("new", "cs_n"))
        tokens.look_again()
        assert tokens.problem == ""
        assert names(tokens, "cs_r", "cs_n") == [None, "new"]
    assert len(events_of(logged, logging.ERROR)) == 2


def test_a_file_that_comes_back_as_it_was_is_said_to_be_right_again(tmp_path: Path) -> None:
    """A folder that was not mounted for a while: nothing of the file itself has changed."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    (folder / "tokens").write_text(line("reader", "cs_r"))
    tokens = Tokens(folder / "tokens")
    folder.rename(tmp_path / "away")
    tokens.look_again()
    assert tokens.problem
    (tmp_path / "away").rename(folder)
    tokens.look_again()
    assert tokens.problem == ""


@pytest.mark.parametrize("text", [None, "nonsense"])
def test_a_start_without_a_good_file_knows_no_tokens_until_there_is_one(
    tmp_path: Path, text: str | None, logged: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tokens"
    if text is not None:
        path.write_text(text)
    tokens = Tokens(path)
    assert not tokens.known
    assert "nobody is let in until it is right" in tokens.problem
    assert len(events_of(logged, logging.ERROR)) == 1
    assert names(tokens, "cs_r") == [None]
    path.write_text(line("reader", "cs_r"))
    tokens.look_again()
    assert tokens.known
    assert names(tokens, "cs_r") == ["reader"]


@pytest.mark.parametrize("text", ["", "\n", "# all revoked\n"])
def test_an_empty_file_lets_nobody_in(file: Path, text: str) -> None:
    tokens = Tokens(file)
    file.write_text(text)
    tokens.look_again()
    assert tokens.known
    assert tokens.problem == ""
    assert names(tokens, "cs_r", "cs_t") == [None, None]


def test_a_mistake_of_ours_does_not_end_the_looking(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(file)
    monkeypatch.setattr(tokens_module, "LOOK_AGAIN_S", 0)
    looked = 0

    async def follow() -> None:
        third = asyncio.Event()
        loop = asyncio.get_running_loop()

        def look() -> None:
            nonlocal looked
            looked += 1
            if looked >= 3:
                loop.call_soon_threadsafe(third.set)
            raise ZeroDivisionError

        monkeypatch.setattr(tokens, "look_again", look)
        task = asyncio.create_task(tokens.follow())
        await asyncio.wait_for(third.wait(), 30)
        task.cancel()

    asyncio.run(follow())
    assert looked >= 3
