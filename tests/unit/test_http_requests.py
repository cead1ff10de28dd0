"""Every rule by which a request is read, on the HTTP application alone."""

from __future__ import annotations

import asyncio
from urllib.parse import quote, quote_plus

import pytest

from serve_app import placement
from serve_app.errors import DiskFull, InvalidRequest, OutcomeUnknown, StoreError, Unavailable
from serve_app.settings import Limits
from tests.support.asgi_client import request, scope_of
from tests.support.bad_requests import ALLOWED, BAD_REQUESTS, ODD_KEYS, BadRequest
from tests.support.fake_directory import BUCKET_COUNT, FakeDirectory, http_on
from tests.support.problem import check_problem


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: f"{bad.method} {bad.target[:60]!r} {bad.says}")
def test_a_bad_request_is_refused_and_told_why(bad: BadRequest) -> None:
    directory = FakeDirectory()
    body = [bad.body] if bad.body else []
    answer = request(http_on(directory), bad.method, bad.target, headers=bad.headers, body=body)
    detail = check_problem(answer, bad.status)
    assert bad.says in detail
    assert len(detail) < 300, "a long request is not played back"
    if bad.status == 405:
        assert answer.headers["allow"] == ALLOWED[bad.target.decode().split("?")[0].split("/")[1]]
    assert not directory.records


@pytest.mark.parametrize("key", ODD_KEYS, ids=lambda key: ascii(key[:20]))
def test_any_key_round_trips_in_both_forms(key: str) -> None:
    app = http_on(FakeDirectory())
    for number, spelled in enumerate((quote(key, safe=""), quote_plus(key))):
        put = request(app, "PUT", f"/put?key={spelled}&value=v{number}".encode())
        assert put.json() == {
            "key": key,
            "value": f"v{number}",
            "action": "updated" if number else "created",
            "bucket_id": placement.bucket_of(key.encode(), BUCKET_COUNT),
            "digest": placement.digest(key.encode()),
        }
        for target in (f"/get/{quote(key, safe='')}", f"/get/{quote(key)}", f"/get?key={spelled}"):
            assert request(app, "GET", target.encode()).json()["value"] == f"v{number}", target
    deleted = request(app, "DELETE", f"/delete/{quote(key, safe='')}".encode())
    assert (deleted.json()["key"], deleted.json()["value"]) == (key, "v1")
    check_problem(request(app, "DELETE", f"/delete?key={quote_plus(key)}".encode()), 404)


def test_odd_keys_are_all_different() -> None:
    directory = FakeDirectory()
    app = http_on(directory)
    for key in ODD_KEYS:
        request(app, "PUT", f"/put?key={quote_plus(key)}&value=1".encode())
    assert set(directory.records) == {key.encode() for key in ODD_KEYS}


def test_plus_is_a_space_in_a_query_and_a_plus_in_a_path() -> None:
    directory = FakeDirectory()
    app = http_on(directory)
    request(app, "PUT", b"/put?key=a+b&value=x+y")
    assert directory.records[b"a b"][0] == b"x y"
    check_problem(request(app, "GET", b"/get/a+b"), 404)
    assert request(app, "GET", b"/get/a%20b").json()["value"] == "x y"


def test_empty_parts_of_a_query_are_nothing() -> None:
    directory = FakeDirectory()
    answer = request(http_on(directory), "PUT", b"/put?&key=a&&value=1&")
    assert answer.status == 200
    assert directory.records[b"a"][0] == b"1"


def test_an_application_mounted_below_a_prefix_reads_the_same_keys() -> None:
    directory = FakeDirectory()
    directory.records[b"get/a"] = (b"1", "text/plain")
    app = http_on(directory)
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    asyncio.run(app(scope_of("GET", b"/store/get/get%2Fa", root_path="/store"), receive, send))
    assert sent[0]["status"] == 200


# -- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", " ", "\0", '"\\\n', "🙂", "a" * 100_000, "\u2028", "\ufeff"], ids=ascii)
def test_any_text_is_a_value(value: str) -> None:
    app = http_on(FakeDirectory())
    by_parameter = request(app, "PUT", f"/put?key=a&value={quote_plus(value)}".encode())
    assert by_parameter.json()["value"] == value
    if value:
        by_body = request(app, "PUT", b"/put?key=b", body=[value.encode()])
        assert by_body.json()["value"] == value
        assert request(app, "GET", b"/get/b").json()["value"] == value


def test_a_body_in_pieces_that_split_a_character_is_one_value() -> None:
    app = http_on(FakeDirectory())
    raw = "aä🙂".encode()
    answer = request(app, "PUT", b"/put?key=a", body=[raw[i : i + 1] for i in range(len(raw))])
    assert answer.json()["value"] == "aä🙂"


def test_the_content_type_is_kept() -> None:
    directory = FakeDirectory()
    app = http_on(directory)
    request(app, "PUT", b"/put?key=a", headers=[(b"content-type", b"text/csv")], body=[b"1,2"])
    request(app, "PUT", b"/put?key=b", body=[b"1,2"])
    request(app, "PUT", b"/put?key=c&value=1", headers=[(b"content-type", b"text/csv")])
    assert directory.records[b"a"][1] == "text/csv"
    assert directory.records[b"b"][1] == "text/plain; charset=utf-8"
    assert directory.records[b"c"][1] == "text/plain; charset=utf-8", "the type is of a body that is not there"


@pytest.mark.parametrize(("size", "status"), [(10, 200), (11, 413), (1000, 413)])
@pytest.mark.parametrize("chunk_bytes", [1, 10, 1000])
def test_a_value_has_a_largest_size(size: int, status: int, chunk_bytes: int) -> None:
    directory = FakeDirectory()
    app = http_on(directory, Limits(max_value_bytes=10))
    body = b"a" * size
    chunks = [body[i : i + chunk_bytes] for i in range(0, size, chunk_bytes)]
    for headers in ([], [(b"content-length", b"%d" % size)]):
        answer = request(app, "PUT", b"/put?key=a", headers=headers, body=chunks)
        if status == 413:
            assert "at most 10 bytes" in check_problem(answer, 413)
        assert answer.status == status
    assert bool(directory.records) == (status == 200)


def test_a_value_in_the_query_has_the_same_largest_size() -> None:
    app = http_on(FakeDirectory(), Limits(max_value_bytes=10))
    assert request(app, "PUT", b"/put?key=a&value=" + b"a" * 10).status == 200
    check_problem(request(app, "PUT", b"/put?key=a&value=" + b"a" * 11), 413)


def test_a_length_that_is_no_number_is_refused() -> None:
    app = http_on(FakeDirectory())
    for length in (b"-1", b"+1", b"1e3", b"\xb2", b"", b"9" * 5000):
        answer = request(app, "PUT", b"/put?key=a", headers=[(b"content-length", length)], body=[b"a"])
        assert "Content-Length" in check_problem(answer, 422)


# -- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "status", "retry_after"),
    [
        (Unavailable("bucket-1 is away"), 503, "1"),
        (Unavailable("later", retry_after_s=7), 503, "7"),
        (OutcomeUnknown("it may have happened"), 504, None),
        (DiskFull("bucket-1 is full"), 507, None),
        (InvalidRequest("no"), 422, None),
        (StoreError("something else"), 503, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_failure_of_the_store_has_its_status(failure: StoreError, status: int, retry_after: str | None) -> None:
    directory = FakeDirectory()
    directory.failure = failure
    app = http_on(directory)
    for method, target in (("GET", b"/get/a"), ("DELETE", b"/delete?key=a"), ("PUT", b"/put?key=a&value=1")):
        answer = request(app, method, target)
        assert check_problem(answer, status) == str(failure)
        assert answer.headers.get("retry-after") == retry_after


def test_a_bug_is_a_problem_without_its_insides() -> None:
    directory = FakeDirectory()
    directory.failure = ZeroDivisionError("the-secret-inside")
    answer = request(http_on(directory), "GET", b"/get/a")
    assert "the-secret-inside" not in check_problem(answer, 500)


def test_a_store_without_a_topology_says_so() -> None:
    answer = request(http_on(FakeDirectory()), "GET", b"/health")
    assert "bucket-0 is away" in check_problem(answer, 503)
    assert answer.headers["retry-after"] == "1"


def test_the_root_leads_to_the_docs() -> None:
    answer = request(http_on(FakeDirectory()), "GET", b"/")
    assert answer.status == 307
    assert answer.headers["location"] == "/docs"
