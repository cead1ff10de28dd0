"""What the README has one type: at a prompt, with what it answers, and without one, where there is a test of its own for what
it does."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.running_store import ROOT, RunningStore
from tests.docs.blocks import Block, blocks

README = blocks("README.md")
_BIN = str(Path(sys.executable).parent)


@pytest.mark.ray
@pytest.mark.parametrize("block", [block for block in README if block.kind == "console"], ids=str)
def test_what_is_typed_at_a_prompt_answers_so(block: Block, readers_store: RunningStore, tmp_path: Path) -> None:
    store = readers_store
    with store.client() as client:
        for key in ("reports/2026", "visits", "notes/first"):
            client.delete("/v1/kv", params={"key": key})
    environment = {**os.environ, "CLOUD_STORAGE_URL": store.url, "PATH": f"{_BIN}:{os.environ['PATH']}"}
    prompts = re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]
    assert prompts
    for prompt in prompts:
        command, _, said = prompt.partition("\n")
        command = command.replace("http://127.0.0.1:8000", store.url).replace("curl ", "curl -sS ")
        # An idempotency key names a request for ten minutes.
        command = command.replace("4f1b", f"4f1b-{os.getpid()}")
        done = subprocess.run(
            ["bash", "-c", command], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        answered = done.stderr + done.stdout
        assert same(answered) == same(said), command


def same(text: str) -> str:
    """Without what differs from store to store."""
    return re.sub(r'(revision"?:? ?)\d+', r"\1N", text).rstrip("\n")


@pytest.mark.parametrize("block", [block for block in README if block.kind == "sh"], ids=str)
def test_what_is_typed_is_there(block: Block) -> None:
    """`make`'s targets, and programs with their options."""
    for line in block.code.splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words[0] == "make":
            command = ["make", "-n", *words[1:]]
        else:
            assert words[0].startswith(".venv/bin/"), line
            command = [f"{_BIN}/{Path(words[0]).name}", *words[1:], "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
