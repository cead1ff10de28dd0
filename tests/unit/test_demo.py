"""The demo's parts: reading data sets, outlasting trouble, and saying what is lost."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.cli import dataset, demo_report, patient_client
from serve_app.cli.dataset import parse_packages, read_json_lines
from serve_app.cli.demo import demo
from serve_app.cli.patient_client import PatientClient
from serve_app.command_output.failure import Failure
from serve_app.placement import digest

# -- Debian's package list -------------------------------------------------------------------------------------------

_PACKAGES = """Package: zebra
Version: 2
Description: stripes
 and more stripes, with Package: in a line
 .
 Größe: ß

Package: ant
Version: 1

Package: zebra
Version: 1
Description: fewer stripes
"""


def test_packages_are_paragraphs_under_their_names() -> None:
    found = list(parse_packages(_PACKAGES))
    assert [name for name, _ in found] == ["zebra", "ant", "zebra"]
    assert found[0][1].startswith("Package: zebra\nVersion: 2\n")
    assert found[0][1].endswith("Größe: ß")
    assert found[1][1] == "Package: ant\nVersion: 1"
    assert found[2][1] == "Package: zebra\nVersion: 1\nDescription: fewer stripes"


@pytest.mark.parametrize("text", ["", "\n\n\n", "Version: 1\n", "Package:\nVersion: 1\n", "no field at all"])
def test_what_has_no_package_name_is_no_package(text: str) -> None:
    assert list(parse_packages(text)) == []


def test_the_order_of_fields_does_not_matter() -> None:
    assert list(parse_packages("\n\nVersion: 1\nPackage: ant\n\n\n\n")) == [("ant", "Version: 1\nPackage: ant")]


def apt_answers(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any]) -> None:
    monkeypatch.setattr(subprocess, "run", answer)


def test_of_a_package_that_comes_twice_the_last_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    apt_answers(monkeypatch, lambda *a, **k: subprocess.CompletedProcess(a, 0, _PACKAGES.encode(), b""))
    found = dataset.load(None)
    assert list(found.records) == ["zebra", "ant"]
    assert "fewer stripes" in found.records["zebra"]
    assert found.replaced == 1
    assert "2 records" in demo_report.headline(found)
    assert "1 more had a key that came again, of which the last is kept" in demo_report.headline(found)


def test_without_apt_cache_another_data_set_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object, **options: object) -> None:
        raise FileNotFoundError

    apt_answers(monkeypatch, missing)
    with pytest.raises(Failure, match=r"apt-cache.*not on this machine.*--data FILE"):
        dataset.load(None)


def test_an_empty_package_list_asks_for_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    apt_answers(monkeypatch, lambda *a, **k: subprocess.CompletedProcess(a, 0, b"\n", b""))
    with pytest.raises(Failure, match=r"apt-get update.*--data FILE"):
        dataset.load(None)


def test_apt_caches_own_error_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **options: object) -> None:
        raise subprocess.CalledProcessError(100, "apt-cache", b"", b"E: the cache is locked\n")

    apt_answers(monkeypatch, failing)
    with pytest.raises(Failure, match=r"E: the cache is locked.*--data FILE"):
        dataset.load(None)


# -- JSON Lines ------------------------------------------------------------------------------------------------------


def lines(tmp_path: Path, *content: bytes) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\n".join(content))
    return path


def test_json_lines_are_records(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        b'{"key": "a", "value": "1"}',
        b"",
        b'{"value": "\\u00e4\\n", "key": "\xc3\xa4/ \\u0000"}\r',
        b'{"key": "a", "value": ""}',
        b"",
    )
    found = dataset.load(path)
    assert found.records == {"a": "", "ä/ \0": "ä\n"}
    assert found.replaced == 1
    assert found.size_bytes == 1 + 5 + 3


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "not JSON: Expecting property name"),
        (b"key,value", "not JSON"),
        (b'{"key": "a", "value": "1"} x', "not JSON: Extra data at column 28"),
        (b'{"key": "a\xff", "value": "1"}', "byte 11 of the line is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", 'not an object of exactly "key" and "value"'),
        (b'"a"', "not an object"),
        (b"null", "not an object"),
        (b'{"key": "a"}', "not an object"),
        (b'{"key": "a", "value": "1", "ttl": 2}', "not an object"),
        (b'{"key": 1, "value": "1"}', '"key" is not a string'),
        (b'{"key": "a", "value": {}}', '"value" is not a string'),
        (b'{"key": "a", "value": null}', '"value" is not a string'),
        (b'{"key": "", "value": "1"}', "the key is empty"),
        (b'{"key": "' + b"k" * 1025 + b'", "value": "1"}', "1,025 bytes"),
        (b'{"key": "\\ud800", "value": "1"}', "surrogate"),
        (b'{"key": "a", "value": "\\ud800"}', "surrogate"),
        (b'{"key": "a", "value": "' + b"v" * (25 * 1024 * 1024 + 1) + b'"}', "26,214,401 bytes"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: bytes, says: str) -> None:
    path = lines(tmp_path, b'{"key": "a", "value": "1"}', b"", line)
    with pytest.raises(Failure) as failure:
        list(read_json_lines(path))
    assert str(failure.value).startswith(f"{path}, line 3: ")
    assert says in str(failure.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"nowhere\.jsonl can't be read: No such file"):
        list(read_json_lines(tmp_path / "nowhere.jsonl"))
    with pytest.raises(Failure, match="can't be read: Is a directory"):
        list(read_json_lines(tmp_path))


# -- outlasting trouble ----------------------------------------------------------------------------------------------

_PROBLEM = {"content-type": "application/problem+json"}


def problem(status: int, kind: str, title: str = "a title") -> httpx.Response:
    body = json.dumps({"type": f"urn:cloud-storage:{kind}", "title": title, "status": status, "detail": "why"})
    return httpx.Response(status, headers=_PROBLEM, text=body)


def good(key: str, **fields: object) -> httpx.Response:
    return httpx.Response(200, json={"bucket_id": 1, "digest": digest(key.encode()), **fields})


class Script(httpx.AsyncBaseTransport):
    """Answers, or exceptions, in their order."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers: Iterator[httpx.Response | Exception] = iter(answers)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def ask(script: Script, patience_s: float, question: Callable[[PatientClient], Any]) -> tuple[Any, PatientClient]:
    async def run() -> tuple[Any, PatientClient]:
        async with PatientClient("http://store", 1, patience_s=patience_s, transport=script) as client:
            return await question(client), client

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_client, "_FIRST_PAUSE_S", 0.0001)


def test_a_put_is_repeated_until_the_store_itself_answers() -> None:
    trouble = (
        httpx.ConnectError("refused"),
        httpx.ReadError(""),
        httpx.RemoteProtocolError("half an answer"),
        httpx.ReadTimeout(""),
        problem(503, "unavailable", "Refused for now"),
        problem(504, "outcome-unknown", "Not known"),
        problem(408, "upload-timeout", "Stalled"),
        httpx.Response(500, text="Internal Server Error"),
        httpx.Response(503, text="Request dropped due to backpressure"),
        httpx.Response(404, text="Path '/put' not found."),
        httpx.Response(400, html="<html>Bad request</html>"),
        httpx.Response(200, headers={"content-type": "application/json"}, text='{"key": "cut o'),
    )
    script = Script(*trouble, good("a b"))
    bucket, client = ask(script, 30.0, lambda client: client.put("a b", "välue"))
    assert bucket == 1
    assert client.retries.total() == len(trouble)
    assert client.retries["connection refused"] == 1
    assert client.retries["504 Not known"] == 1
    assert client.retries["404 from something in front of the store"] == 1
    assert {request.url.query for request in script.requests} == {b"key=a+b"}
    assert {request.content for request in script.requests} == {"välue".encode()}


def test_an_empty_value_goes_as_the_parameter() -> None:
    script = Script(good("a"))
    ask(script, 1.0, lambda client: client.put("a", ""))
    assert script.requests[0].url.query == b"key=a&value="


def test_a_missing_key_is_an_answer() -> None:
    assert ask(Script(problem(404, "key-not-found")), 1.0, lambda client: client.get("a"))[0] is None


@pytest.mark.parametrize(
    "answer", [problem(422, "invalid-request"), problem(413, "value-too-large"), problem(507, "disk-full")]
)
def test_what_can_never_succeed_is_not_repeated(answer: httpx.Response) -> None:
    script = Script(answer)
    with pytest.raises(Failure, match="the store refused the put of key 'a': why"):
        ask(script, 30.0, lambda client: client.put("a", "1"))
    assert len(script.requests) == 1


def test_patience_has_an_end() -> None:
    script = Script(*(httpx.ConnectError("") for _ in range(10_000)))
    with pytest.raises(
        Failure, match=r"the get of key 'a' was not answered within 0.05 s; the last try: connection refused"
    ):
        ask(script, 0.05, lambda client: client.get("a"))
    assert len(script.requests) > 1


def test_an_answer_for_another_key_is_noticed() -> None:
    with pytest.raises(Failure, match="another key than 'a'"):
        ask(Script(good("b", value="1")), 1.0, lambda client: client.get("a"))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.ConnectError(""), "no store answers at http://store .*connection refused.*make run"),
        (httpx.Response(404, text="nginx"), "no store answers at http://store .*404"),
        (httpx.Response(200, json={"hello": 1}), "not this store"),
        (problem(503, "unavailable", "Not up"), "503 Not up"),
    ],
)
def test_at_the_start_there_is_no_patience(answer: httpx.Response | Exception, says: str) -> None:
    script = Script(answer)
    with pytest.raises(Failure, match=says):
        ask(script, 30.0, lambda client: client.topology())
    assert len(script.requests) == 1


@pytest.mark.parametrize("url", ["http://host:port", "127.0.0.1:8000", "ftp://host"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Failure, match="is not an address"):
        demo(url, None, 1, check_only=True)


# -- what it says ----------------------------------------------------------------------------------------------------


def test_the_verdict_names_the_first_ten_lost() -> None:
    assert "nothing lost" in demo_report.verdict([], 5)
    lost = [f"'key-{number:02}': no such key" for number in range(12)]
    text = demo_report.verdict(lost, 20)
    assert "12 of 20 records are lost" in text
    assert text.count("no such key") == 10
    assert "… and 2 more" in text


@pytest.mark.parametrize(
    ("expected", "got", "says"),
    [
        ("abc", "abd", "3 bytes instead of 3, different from byte 2 on"),
        ("abc", "ab", "2 bytes instead of 3, different from byte 2 on"),
        ("", "a", "1 bytes instead of 0, different from byte 0 on"),
        ("ä", "Ä", "2 bytes instead of 2, different from byte 1 on"),
    ],
)
def test_a_difference_says_where(expected: str, got: str, says: str) -> None:
    assert demo_report.difference(expected, got) == says
