"""Every program on docs/python.md, docs/recipes.md and in the README runs as it stands there, and prints what it says."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.ray_client import gcs_address
from harness.running_store import ROOT, RunningStore
from tests.client.served import Served, served
from tests.docs.blocks import Block, blocks

PAGES = ("README.md", "docs/python.md", "docs/recipes.md")
PROGRAMS = [block for page in PAGES for block in blocks(page) if block.kind == "python"]


@pytest.fixture(scope="module")
def http_store() -> Iterator[Served]:
    with served() as store:
        yield store


@pytest.mark.parametrize("block", [block for block in PROGRAMS if not block.needs_ray], ids=str)
def test_a_program_prints_what_the_page_says(block: Block, http_store: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_STORAGE_URL", http_store.url)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(block.code, str(block), "exec"), {"__name__": "__main__"})
    assert output.getvalue().splitlines() == block.printed
    assert block.printed, "it shows something"


@pytest.mark.ray
@pytest.mark.parametrize("block", [block for block in PROGRAMS if block.needs_ray], ids=str)
def test_a_program_of_ray_prints_what_the_page_says(block: Block, readers_store: RunningStore, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(block.code)
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env={**os.environ, **of_programs(), "RAY_ADDRESS": gcs_address(readers_store.processes())},
        capture_output=True,
        text=True,
        timeout=120,
    )
    # Ray says itself that an actor was killed.
    printed = [line for line in done.stdout.splitlines() if "(raylet)" not in line]
    assert printed == block.printed, done.stderr
    assert block.printed


def of_programs() -> dict[str, str]:
    """What docs/python.md has programs started with."""
    (block,) = [block for block in blocks("docs/python.md") if block.kind == "sh"]
    exported = dict(re.findall(r"(\w+)=(\S+)", block.code))
    assert set(exported) == {"RAY_AUTH_MODE", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_ADDRESS"}
    return exported


def test_every_block_is_of_a_kind_that_is_run() -> None:
    """What is indented is drawn or shown, and none of it is Python."""
    for page in PAGES:
        assert {block.kind for block in blocks(page)} <= {"python", "sh", "console", "mermaid"}, page
        indented = re.findall(
            r"^    (?:import|from|def|with) .*$", re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.S), re.M
        )
        assert not indented, page
