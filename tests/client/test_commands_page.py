"""docs/commands.md names exactly the commands and options that there are, and the statuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cloud_storage.commands.app import client_app
from cloud_storage.commands.statuses import Status
from serve_app.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
SHARED = {"--url", "--timeout", "--token-file", "--help"}


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """All commands below it by what is typed, with those below them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name, command


CLIENT = dict(commands(typer.main.get_command(client_app)))
ALL = dict(commands(typer.main.get_command(app)))


def options(command: Any) -> set[str]:
    found = (parameter for parameter in command.params if parameter.param_type_name == "option")
    return {name for option in found for name in (*option.opts, *option.secondary_opts)}


def documented(part: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-z0-9][a-z-]*", part))


def row(command: str) -> str:
    """The table's row that begins with the command."""
    found = re.findall(rf"^\| `{re.escape(command)}(?: [^`]*)?` \|.*$", PAGE, re.M)
    assert len(found) == 1, command
    return str(found[0])


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_page_names_every_command_and_no_other() -> None:
    named = re.findall(r"^\| `((?:token )?[a-z][a-z-]*)(?: [^`]*)?` \|", PAGE, re.M)
    assert sorted(named) == sorted(ALL)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"bench"}))
def test_a_row_names_exactly_the_commands_options(name: str) -> None:
    own = options(ALL[name]) - (SHARED if name in CLIENT else {"--help"})
    last = row(name).rsplit(" | ", 1)[1]
    assert documented(last) == own


def test_what_bench_takes_is_in_its_section() -> None:
    rows = " ".join(re.findall(r"^\| (`--[^|]*) \|", section("Measuring"), re.M))
    assert documented(rows) == options(CLIENT["bench"]) - SHARED


def test_every_command_of_the_client_takes_what_all_take() -> None:
    shared = documented(" ".join(re.findall(r"^\| (`--[^|]*) \|", section("What all of the client's take"), re.M)))
    assert shared == SHARED
    for name, command in CLIENT.items():
        assert options(command) >= SHARED - {"--help"}, name


def test_every_status_is_in_the_table() -> None:
    assert re.findall(r"^\| (\d+) \|", section("Exit statuses"), re.M) == [str(int(status)) for status in Status]


def test_the_help_of_each_of_the_clients_commands_says_the_statuses() -> None:
    for command in CLIENT.values():
        assert re.findall(r"\b\d+\b", command.epilog) == [str(int(status)) for status in Status]
