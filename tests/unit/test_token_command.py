"""`python -m serve_app token …`: what is printed, what the file gets, and what is left as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from harness.running_store import ROOT
from serve_app.auth.secret import digest_of
from serve_app.auth.tokens import Tokens
from serve_app.auth.tokens_file import TokenLine, parse
from serve_app.cli.main import app


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["token", *arguments])


def create(*arguments: str) -> str:
    result = invoke("create", *arguments, "--file", "tokens")
    assert result.exit_code == 0, result.output
    return str(result.stdout.strip())


def names() -> list[str]:
    return [token.name for token in parse(Path("tokens").read_bytes())]


def test_a_token_is_printed_alone_and_its_hash_is_kept() -> None:
    result = invoke("create", "team", "--scope", "read,write", "--prefix", "team é/", "--file", "tokens")
    token = result.stdout.strip()
    assert result.stdout == token + "\n"
    assert token.startswith("cs_")
    text = Path("tokens").read_text()
    assert token not in text
    digest = digest_of(token.encode())
    assert parse(text.encode()) == (TokenLine("team", ("read", "write"), "team é/".encode(), digest),)
    assert text == f"team read,write prefix=team%20%C3%A9/ sha256:{digest.hex()}\n"
    assert token not in result.stderr
    assert "This is shown once" in result.stderr
    found = Tokens(Path("tokens")).find(token.encode())
    assert found is not None
    assert found.name == "team"


def test_the_file_is_for_its_owner_alone_and_keeps_what_else_is_in_it() -> None:
    create("first", "--scope", "read")
    file = Path("tokens")
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("# mine\n" + file.read_text() + "\n# the end")
    file.chmod(0o640)
    create("second", "--scope", "admin")
    assert file.stat().st_mode & 0o777 == 0o640, "as somebody chose it"
    assert file.read_text().startswith("# mine\nfirst ")
    assert "\n# the end\nsecond admin" in file.read_text()
    assert os.listdir() == ["tokens"], "nothing is left beside it"


def test_it_is_exchanged_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader in the middle, and a crash, find the old file."""
    create("first", "--scope", "read")
    before = Path("tokens").read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = invoke("create", "second", "--scope", "read", "--file", "tokens")
    assert result.exit_code == 1
    assert "can't be used: No space left on device" in result.stderr
    assert result.stdout == "", "no token that nobody knows of"
    assert Path("tokens").read_bytes() == before
    assert os.listdir() == ["tokens"]


def test_a_link_stays_one() -> None:
    Path("there").mkdir()
    Path("tokens").symlink_to("there/real")
    create("first", "--scope", "read")
    create("second", "--scope", "read")
    assert Path("tokens").is_symlink()
    assert names() == ["first", "second"]


def test_two_at_once_both_get_in() -> None:
    command = [sys.executable, "-m", "serve_app", "token", "create", "--scope", "read", "--file"]
    file = str(Path("tokens").absolute())
    started = [
        subprocess.Popen([*command, file, f"t{number}"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for number in range(4)
    ]
    assert [process.communicate(timeout=120)[1] and process.returncode for process in started] == [0] * 4
    assert sorted(names()) == ["t0", "t1", "t2", "t3"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create", "first", "--scope", "read"], "there is a token named 'first' already"),
        (["create", "new", "--scope", "all"], "'all' is no scope: it is one of read, write, admin"),
        (["create", "a b", "--scope", "read"], "'a b' is no name of a token"),
        (["create", "new", "--scope", "read", "--prefix", "x" * 2000], "no key more than 1,024"),
        (["revoke", "new"], "there is no token named 'new'"),
    ],
)
def test_what_can_not_be_done_is_one_sentence_and_changes_nothing(arguments: list[str], sentence: str) -> None:
    create("first", "--scope", "read")
    before = Path("tokens").read_bytes()
    result = invoke(*arguments, "--file", "tokens")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert sentence in result.stderr
    assert Path("tokens").read_bytes() == before


@pytest.mark.parametrize("command", [["create", "n", "--scope", "read"], ["list"], ["revoke", "n"]])
@pytest.mark.parametrize("spoil", ["wrong", "a folder", "a pipe", "no folder"])
def test_a_file_that_can_not_be_used_is_one_sentence(command: list[str], spoil: str) -> None:
    file = Path("nowhere/tokens" if spoil == "no folder" else "tokens")
    match spoil:
        case "wrong":
            file.write_text("# fine\nnonsense\n")
        case "a folder":
            file.mkdir()
        case "a pipe":
            os.mkfifo(file)
    result = invoke(*command, "--file", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    said = {"wrong": "line 2: it is not", "a folder": "it is no file", "a pipe": "it is no file"}
    assert said.get(spoil, "can't be used: No such file or directory") in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", [["list"], ["revoke", "n"]])
def test_none_is_made_where_none_is_wanted(command: list[str]) -> None:
    result = invoke(*command, "--file", "tokens")
    assert result.exit_code == 1
    assert "can't be used: No such file or directory" in result.stderr
    assert not Path("tokens").exists()


def test_a_list_shows_what_each_allows_and_no_hash() -> None:
    create("zoe", "--scope", "admin,read")
    create("abel", "--scope", "read", "--prefix", "a b/")
    result = invoke("list", "--file", "tokens")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines == [["name", "scopes", "prefix"], ["abel", "read", "a%20b/"], ["zoe", "admin,read"]]


def test_a_revoked_token_is_no_longer_there() -> None:
    create("first", "--scope", "read")
    create("second", "--scope", "read")
    result = invoke("revoke", "first", "--file", "tokens")
    assert result.exit_code == 0
    assert names() == ["second"]


def configure(**auth: str) -> None:
    document = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    document["applications"][0]["args"]["auth"] = auth
    Path("serve_config.yaml").write_text(yaml.safe_dump(document))


def test_the_file_of_the_configuration_is_meant() -> None:
    configure(tokens_file="etc/tokens")
    Path("etc").mkdir()
    result = invoke("create", "first", "--scope", "read")
    assert result.exit_code == 0
    assert "does not name that file" not in result.stderr
    assert Path("etc/tokens").exists()
    assert "first" in invoke("list").stdout
    assert invoke("revoke", "first").exit_code == 0
    other = invoke("create", "first", "--scope", "read", "--file", "other")
    assert "serve_config.yaml does not name that file: args.auth.tokens_file turns tokens on" in other.stderr


@pytest.mark.parametrize("configured", [True, False])
def test_without_a_file_named_anywhere_it_says_so(configured: bool) -> None:
    if configured:
        configure()
    result = invoke("create", "first", "--scope", "read")
    assert result.exit_code == 1
    assert "names no tokens file (args.auth.tokens_file); say which with --file" in result.stderr


def test_a_configuration_that_is_wrong_is_said() -> None:
    configure(tokens_fiel="x")
    result = invoke("list")
    assert result.exit_code == 1
    assert "auth.tokens_fiel: unknown setting" in result.stderr
