"""What the documents say of the repository is there, and their lines are short enough to read side by side."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.running_store import ROOT
from serve_app.http import problems
from serve_app.http.v1.routes import V1_ROUTES

DOCUMENTS = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "tests/simulation/README.md"))
_NAMES = sorted(str(path.relative_to(ROOT)) for path in DOCUMENTS)
#: A Helm chart is named like a file.
_PATH = re.compile(
    r"(?<![\w/.-])(?!kuberay/kuberay-operator)(?:tests|benchmarks|harness|serve_app|kuberay|docs)/[\w/*.-]*\w"
)
_TEST = re.compile(r"\btest_\w+(?![\w*./])")
#: `Class`, `Class.method`, `_private` and `with_underscores`, which no ordinary word has.
_CODE_NAME = re.compile(r"[A-Z][a-z]\w*(?:\.\w+)?|_\w+|[a-z]+(?:_[a-z]+)+")
_LONGEST = 126


@pytest.fixture(scope="module")
def tests_there_are() -> set[str]:
    """The names of all modules and functions of tests."""
    files = list((ROOT / "tests").rglob("test_*.py"))
    return {file.stem for file in files} | {
        name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())
    }


@pytest.mark.parametrize("name", _NAMES)
def test_files_and_tests_that_a_document_names_exist(name: str, tests_there_are: set[str]) -> None:
    text = (ROOT / name).read_text()
    missing = {path for path in _PATH.findall(text) if not list(ROOT.glob(path)) and not list(ROOT.glob(path + "*.py"))}
    assert missing | (set(_TEST.findall(text)) - tests_there_are) == set()


@pytest.mark.parametrize("name", _NAMES)
def test_lines_of_prose_are_no_longer_than_the_code_may_be(name: str) -> None:
    assert [line for line in prose(ROOT / name) if len(line) > _LONGEST] == []


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/resharding.md", "CONTRIBUTING.md"])
def test_classes_and_methods_that_a_document_names_are_in_the_code(name: str) -> None:
    code = "\n".join(path.read_text() for part in ("serve_app", "tests") for path in (ROOT / part).rglob("*.py"))
    words = set(re.findall(r"\w+", code))
    named = {
        part
        for quoted in re.findall(r"`([\w.]+?)(?:\(\))?`", (ROOT / name).read_text())
        if _CODE_NAME.fullmatch(quoted)
        for part in quoted.split(".")
    }
    assert named, "it names some"
    assert named - words == set()


def test_the_page_of_the_api_has_every_error_and_every_route() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    for _, status, kind, _ in problems._PROBLEMS:
        assert re.search(rf"^\| {status} \|.*`{kind}`", text, re.M), f"{status} {kind}"
    for route in V1_ROUTES:
        assert route.path.removesuffix("/{key:path}") in text, route.path


def prose(path: Path) -> list[str]:
    """Its lines without tables, code and addresses that can't be broken."""
    fenced = False
    found = []
    for line in path.read_text().splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith(("|", "    ")) and "http" not in line:
            found.append(line)
    return found
