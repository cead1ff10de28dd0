"""`/v1/kv` over HTTP: bytes as they are, their metadata, and RFC 9110's rules as a client sees them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.asgi_client import request
from tests.support.fake_directory import FakeDirectory, http_on
from tests.support.problem import Answered

BYTES = bytes(range(256))
PNG = (b"content-type", b"image/png")


class Client:
    """One directory, and its answers."""

    def __init__(self) -> None:
        self.directory = FakeDirectory()
        self._app = http_on(self.directory)

    def __call__(self, method: str, target: bytes, *headers: tuple[bytes, bytes], body: bytes = b"") -> Answered:
        sized = (*headers, (b"content-length", b"%d" % len(body))) if body else headers
        return request(self._app, method, target, headers=sized, body=[body] if body else [])

    def kind(self, *args: Any, **more: Any) -> tuple[int, str]:
        """Status and problem type."""
        answer = self(*args, **more)
        return answer.status, answer.json()["type"].removeprefix("urn:cloud-storage:")


@pytest.fixture
def ask() -> Client:
    return Client()


def test_a_value_comes_back_as_it_was_with_its_type_and_metadata(ask: Client) -> None:
    created = ask("PUT", b"/v1/kv/a/b%20c", PNG, body=BYTES)
    assert (created.status, created.body, created.headers["etag"]) == (201, b"", '"2"')
    found = ask("GET", b"/v1/kv?key=a/b+c")
    assert (found.status, found.body) == (200, BYTES)
    assert found.headers["content-type"] == "image/png"
    assert found.headers["etag"] == created.headers["etag"]
    assert found.headers["last-modified"] == "Sun, 15 Jun 2025 15:06:40 GMT"
    assert found.headers["bucket"] == created.headers["bucket"]
    assert found.headers["digest"] == created.headers["digest"]
    assert "expires-at" not in found.headers


def test_a_browser_runs_nothing_of_a_value(ask: Client) -> None:
    ask("PUT", b"/v1/kv/page", (b"content-type", b"text/html"), body=b"<script>alert(1)</script>")
    for method in ("GET", "HEAD"):
        headers = ask(method, b"/v1/kv/page").headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "sandbox"
    part = ask("GET", b"/v1/kv/page", (b"range", b"bytes=0-3")).headers
    assert part["content-security-policy"] == "sandbox"


def test_a_put_says_whether_the_record_is_new(ask: Client) -> None:
    assert [ask("PUT", b"/v1/kv/k", body=b"1").status for _ in range(2)] == [201, 200]
    assert ask("PUT", b"/v1/kv/empty").status == 201
    assert ask("GET", b"/v1/kv/empty").body == b""


def test_without_a_type_a_value_is_bytes(ask: Client) -> None:
    ask("PUT", b"/v1/kv/k", body=b"1")
    assert ask("GET", b"/v1/kv/k").headers["content-type"] == "application/octet-stream"


def test_a_head_is_a_get_without_the_value_and_knows_no_ranges(ask: Client) -> None:
    ask("PUT", b"/v1/kv/k", PNG, body=BYTES)
    found, head = ask("GET", b"/v1/kv/k"), ask("HEAD", b"/v1/kv/k", (b"range", b"bytes=0-1"))
    assert (head.status, head.body) == (200, b"")
    assert head.headers == found.headers


def test_a_delete_says_that_it_was_there(ask: Client) -> None:
    ask("PUT", b"/v1/kv/k", body=b"1")
    gone = ask("DELETE", b"/v1/kv/k")
    assert (gone.status, gone.body, gone.headers["etag"]) == (204, b"", '"3"')
    assert "content-length" not in gone.headers
    assert ask.kind("DELETE", b"/v1/kv/k") == ask.kind("GET", b"/v1/kv/k") == (404, "key-not-found")


# -- conditions (RFC 9110, 13) -----------------------------------------------------------------------------------------


def test_a_record_is_only_created_where_there_is_none(ask: Client) -> None:
    none = (b"if-none-match", b"*")
    assert ask("PUT", b"/v1/kv/k", none, body=b"1").status == 201
    refused = ask("PUT", b"/v1/kv/k", none, body=b"2")
    assert (refused.status, refused.headers["etag"]) == (412, '"2"')
    assert ask("GET", b"/v1/kv/k").body == b"1"


def test_a_record_is_only_replaced_where_it_is_the_one_that_was_seen(ask: Client) -> None:
    seen = ask("PUT", b"/v1/kv/k", body=b"1").headers["etag"].encode()
    assert ask("PUT", b"/v1/kv/k", (b"if-match", seen), body=b"2").status == 200
    refused = ask("PUT", b"/v1/kv/k", (b"if-match", seen), body=b"3")
    assert (refused.status, refused.headers["etag"]) == (412, '"3"')
    assert ask.kind("PUT", b"/v1/kv/other", (b"if-match", b"*"), body=b"1") == (412, "condition-failed")
    assert "etag" not in ask("PUT", b"/v1/kv/other", (b"if-match", b"*"), body=b"1").headers
    assert ask("GET", b"/v1/kv/k").body == b"2"


def test_a_record_is_only_deleted_where_it_is_the_one_that_was_seen(ask: Client) -> None:
    seen = ask("PUT", b"/v1/kv/k", body=b"1").headers["etag"].encode()
    assert ask.kind("DELETE", b"/v1/kv/k", (b"if-match", b'"1"')) == (412, "condition-failed")
    assert ask("DELETE", b"/v1/kv/k", (b"if-match", seen)).status == 204
    # 13.2.1: what is no success without a condition is not looked at with one.
    assert ask.kind("DELETE", b"/v1/kv/k", (b"if-match", seen)) == (404, "key-not-found")


def test_a_reader_that_has_it_already_is_told_so(ask: Client) -> None:
    seen = ask("PUT", b"/v1/kv/k", body=b"1").headers
    for name, value in (
        (b"if-none-match", b'"7", W/' + seen["etag"].encode()),
        (b"if-modified-since", b"Sun, 15 Jun 2025 15:06:40 GMT"),
    ):
        for method in ("GET", "HEAD"):
            unchanged = ask(method, b"/v1/kv/k", (name, value))
            assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", seen["etag"])
            assert not {"content-length", "content-type"} & unchanged.headers.keys()
    assert ask("GET", b"/v1/kv/k", (b"if-none-match", b'"7"')).status == 200
    assert ask.kind("GET", b"/v1/kv/k", (b"if-match", b'"7"')) == (412, "condition-failed")
    assert ask("GET", b"/v1/kv/none", (b"if-none-match", b"*")).status == 404


def test_a_condition_that_can_not_be_read_is_refused_and_never_dropped(ask: Client) -> None:
    assert ask.kind("PUT", b"/v1/kv/k", (b"if-match", b"7"), body=b"1") == (422, "invalid-request")
    assert ask.directory.records == {}


# -- ranges (RFC 9110, 14) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "part", "said"),
    [
        (b"bytes=1-2", BYTES[1:3], "bytes 1-2/256"),
        (b"bytes=250-", BYTES[250:], "bytes 250-255/256"),
        (b"bytes=-3", BYTES[-3:], "bytes 253-255/256"),
        (b"bytes=200-999", BYTES[200:], "bytes 200-255/256"),
    ],
)
def test_a_part_of_a_value_is_sent_as_such(ask: Client, asked: bytes, part: bytes, said: str) -> None:
    ask("PUT", b"/v1/kv/k", PNG, body=BYTES)
    found = ask("GET", b"/v1/kv/k", (b"range", asked))
    assert (found.status, found.body, found.headers["content-range"]) == (206, part, said)
    assert found.headers["content-length"] == str(len(part))
    assert (found.headers["content-type"], found.headers["accept-ranges"]) == ("image/png", "bytes")


def test_a_range_behind_the_end_is_refused_with_the_length(ask: Client) -> None:
    ask("PUT", b"/v1/kv/k", body=BYTES)
    refused = ask("GET", b"/v1/kv/k", (b"range", b"bytes=256-"))
    assert (refused.status, refused.headers["content-range"]) == (416, "bytes */256")


def test_of_another_value_than_the_one_begun_all_is_sent(ask: Client) -> None:
    seen = ask("PUT", b"/v1/kv/k", body=BYTES).headers["etag"].encode()
    part = (b"range", b"bytes=0-0")
    assert ask("GET", b"/v1/kv/k", part, (b"if-range", seen)).status == 206
    assert ask("GET", b"/v1/kv/k", part, (b"if-range", b'"1"')).body == BYTES


# -- what is refused -----------------------------------------------------------------------------------------------------


def test_a_part_is_not_stored_and_an_encoded_body_is_not_taken(ask: Client) -> None:
    part = (b"content-range", b"bytes 0-1/9")
    assert ask.kind("PUT", b"/v1/kv/k", part, body=b"1") == (400, "partial-put")
    assert ask.kind("PUT", b"/v1/kv/k", (b"content-encoding", b"gzip"), body=b"1") == (415, "unsupported-encoding")
    assert ask("PUT", b"/v1/kv/k", (b"content-encoding", b"identity"), body=b"1").status == 201


@pytest.mark.parametrize(
    "target", [b"/v1/kv/", b"/v1/kv?key=", b"/v1/kv", b"/v1/kv/%ff", b"/v1/kv/k?color=red", b"/v1/kv/" + b"k" * 1025]
)
def test_a_key_that_is_none_is_refused(ask: Client, target: bytes) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert ask.kind(method, target) == (422, "invalid-request")


@pytest.mark.parametrize("media_type", [b"a\x01b", "ü".encode(), b"x" * 256])
def test_a_type_that_no_header_could_have_is_refused(ask: Client, media_type: bytes) -> None:
    assert ask.kind("PUT", b"/v1/kv/k", (b"content-type", media_type), body=b"1") == (422, "invalid-request")


def test_bytes_that_are_no_text_are_not_in_an_answer_of_the_first_api(ask: Client) -> None:
    ask("PUT", b"/v1/kv/a%2Fb", body=b"\xff")
    for method, target in (("GET", b"/get/a/b"), ("DELETE", b"/delete/a/b")):
        assert ask.kind(method, target) == (409, "not-text")
    assert ask("HEAD", b"/get/a/b").status == 409
    assert "/v1/kv?key=a%2Fb" in ask("GET", b"/get/a/b").json()["detail"]
    assert ask("GET", b"/v1/kv/a/b").body == b"\xff", "nothing was deleted"
