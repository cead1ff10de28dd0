"""The console's files, without a browser: what is said with each, and that they run and load nothing else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from harness.running_store import ROOT
from serve_app.auth.gate import Gate
from serve_app.auth.tokens import Tokens
from serve_app.http.hosts import Hosts
from tests.support.asgi_client import request
from tests.support.fake_directory import FakeDirectory, http_on
from tests.support.problem import check_problem

FOLDER = ROOT / "serve_app/http/console"
FILES = sorted(path.name for path in FOLDER.iterdir())
PATHS = ["/console", *(f"/console/{name}" for name in FILES if name != "index.html")]
TYPES = {
    "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}  # fmt: skip
POLICY = {
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' blob:",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
    "trusted-types 'none'",
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_file_is_sent_with_what_a_browser_is_to_know_of_it(path: str) -> None:
    app = http_on(FakeDirectory())
    answer = request(app, "GET", path.encode())
    assert answer.status == 200
    kind = path.rpartition(".")[2] if "." in path else "html"
    assert answer.headers["content-type"] == TYPES[kind]
    assert set(answer.headers["content-security-policy"].split("; ")) == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.body == (FOLDER / (path.rpartition("/")[2] if "." in path else "index.html")).read_bytes()
    without_body = request(app, "HEAD", path.encode())
    assert (without_body.status, without_body.body) == (200, b"")
    assert without_body.headers["content-length"] == str(len(answer.body))
    for part in (b"bytes=0-3", b"bytes=abc", b"bytes=99999999-", b"lines=1-2"):
        ranged = request(app, "GET", path.encode(), headers=[(b"range", part)])
        assert (ranged.status, ranged.body) == (200, answer.body)
        assert ranged.headers["accept-ranges"] == "none"
    known = request(app, "GET", path.encode(), headers=[(b"if-none-match", answer.headers["etag"].encode())])
    assert (known.status, known.body) == (304, b"")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
@pytest.mark.parametrize("prefix", ["", "/store"])
@pytest.mark.parametrize("path", ["/console", "/console/", "/console/main.js"])
def test_other_methods_are_refused(path: str, prefix: str, method: str) -> None:
    answer = request(http_on(FakeDirectory()), method, (prefix + path).encode(), root_path=prefix)
    check_problem(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/console", "/console/main.js", "/console/icon.svg"])
def test_below_a_prefix_they_are_served_too(path: str) -> None:
    assert request(http_on(FakeDirectory()), "GET", b"/store" + path.encode(), root_path="/store").status == 200


def test_with_a_slash_behind_it_the_page_is_where_its_links_are_right() -> None:
    for prefix in ("", "/store"):
        answer = request(http_on(FakeDirectory()), "GET", prefix.encode() + b"/console/", root_path=prefix)
        assert (answer.status, answer.headers["location"]) == (307, prefix + "/console")


@pytest.mark.parametrize(
    "path",
    [b"/console/none.js", b"/console/../app.py", b"/console/%2e%2e/app.py", b"/console//",
     b"/console/index.html", b"/console/index.html/", b"/console/main.js/"],
)  # fmt: skip
def test_nothing_else_is_there(path: bytes) -> None:
    """Neither is the page below another name, where its links would lead nowhere."""
    check_problem(request(http_on(FakeDirectory()), "GET", path), 404)


def test_it_is_open_where_the_store_wants_tokens_and_answers_to_the_stores_own_hosts_alone(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("")
    app = http_on(FakeDirectory(), hosts=Hosts((), "127.0.0.1"), gate=Gate(Tokens(tmp_path / "tokens")))
    for path in PATHS:
        assert request(app, "GET", path.encode(), headers=[(b"host", b"127.0.0.1:8000")]).status == 200
        assert request(app, "GET", path.encode(), headers=[(b"host", b"evil.example")]).status == 421


def test_the_page_has_no_script_and_no_style_of_its_own_and_names_only_its_files() -> None:
    html = (FOLDER / "index.html").read_text()
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)
    named = re.findall(r"""(?:src|href)="([^"]+)""", html)
    assert {name for name in named if name != "docs"} <= {f"console/{name}" for name in FILES}
    for name in FILES:
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", (FOLDER / name).read_text()), name


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_a_module_makes_no_markup_of_text_and_keeps_nothing(name: str) -> None:
    text = (FOLDER / name).read_text()
    forbidden = (
        "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser", "setHTML",
        "localStorage", "sessionStorage", "indexedDB", "document.cookie",
    )  # fmt: skip
    assert [word for word in forbidden if word in text] == []
    for imported in re.findall(r'^import .* from "(.*)";$', text, re.MULTILINE):
        assert imported.removeprefix("./") in FILES
    assert text.startswith("// "), "it begins with what it is for"
    assert max(map(len, text.splitlines())) <= 126


def test_the_wheel_has_them_all() -> None:
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["serve_app"]
    there = {path for pattern in packaged for path in (ROOT / "serve_app").glob(pattern)}
    assert {FOLDER / name for name in FILES} <= there


def test_it_is_no_part_of_the_api_and_the_docs_page_leads_to_it() -> None:
    document = request(http_on(FakeDirectory()), "GET", b"/openapi.json").json()
    assert not any(path.startswith("/console") for path in document["paths"])
    assert "[console](console)" in document["info"]["description"]
