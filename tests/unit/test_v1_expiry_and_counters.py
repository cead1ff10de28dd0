"""Times to live, touch and increment over HTTP, and what names a request."""

from __future__ import annotations

import pytest

from tests.unit.test_v1_kv import Client

NOW_S = 1_750_000_000
JSON = (b"content-type", b"application/json")


@pytest.fixture
def ask() -> Client:
    return Client()


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (b"ttl=60", "2025-06-15T15:07:40.000Z"),
        (b"ttl=0.5", "2025-06-15T15:06:40.500Z"),
        (b"expires_at=1750000001", "2025-06-15T15:06:41.000Z"),
        (b"expires_at=2025-06-15T17:06:41%2B02:00", "2025-06-15T15:06:41.000Z"),
        (b"expires_at=2025-06-15T15:06:41.25Z", "2025-06-15T15:06:41.250Z"),
    ],
)
def test_a_record_says_when_it_expires(ask: Client, query: bytes, shown: str) -> None:
    assert ask("PUT", b"/v1/kv/k?" + query, body=b"1").status == 201
    assert ask("GET", b"/v1/kv/k").headers["expires-at"] == shown
    assert ask("HEAD", b"/v1/kv/k").headers["expires-at"] == shown


def test_a_put_without_a_time_leaves_a_record_that_stays(ask: Client) -> None:
    for query in (b"", b"?expires_at=never"):
        ask("PUT", b"/v1/kv/k?ttl=60", body=b"1")
        ask("PUT", b"/v1/kv/k" + query, body=b"2")
        assert "expires-at" not in ask("GET", b"/v1/kv/k").headers


@pytest.mark.parametrize(
    "query",
    [
        b"ttl=0", b"ttl=-1", b"ttl=", b"ttl=1e3", b"ttl=0.0001", b"ttl=inf", b"ttl=9999999999",
        b"ttl=1&expires_at=1750000001", b"expires_at=0", b"expires_at=1", b"expires_at=tomorrow",
        b"expires_at=2025-06-15T15:06:41", b"expires_at=999999999999", b"ttl=1&ttl=2", b"expires_at=10000-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_a_time_that_can_not_be_meant_is_refused(ask: Client, query: bytes) -> None:
    assert ask.kind("PUT", b"/v1/kv/k?" + query, body=b"1") == (422, "invalid-request")
    assert ask.directory.records == {}


def test_a_touch_has_a_record_expire_at_another_time_or_never(ask: Client) -> None:
    ask("PUT", b"/v1/kv/k", body=b"1")
    before = ask("GET", b"/v1/kv/k").headers
    ask.directory.now_ms += 5000
    touched = ask("POST", b"/v1/touch?key=k&ttl=60")
    assert (touched.status, touched.json()) == (200, {"expires": "2025-06-15T15:07:45.000Z", "revision": 3})
    after = ask("GET", b"/v1/kv/k").headers
    assert (after["etag"], after["last-modified"]) == ('"3"', before["last-modified"])
    assert ask("POST", b"/v1/touch?key=k&expires_at=never").json() == {"expires": None, "revision": 4}
    assert ask.kind("POST", b"/v1/touch?key=none&ttl=1") == (404, "key-not-found")
    assert ask.kind("POST", b"/v1/touch?key=k&ttl=1", (b"if-match", b'"1"')) == (412, "condition-failed")
    assert ask.kind("POST", b"/v1/touch?key=k") == (422, "invalid-request")


def test_an_increment_counts_from_nothing_and_keeps_its_number_as_text(ask: Client) -> None:
    assert ask("POST", b"/v1/increment?key=n").json() == {"value": 1, "revision": 2}
    assert ask("POST", b"/v1/increment?key=n", JSON, body=b'{"by": -5}').json()["value"] == -4
    found = ask("GET", b"/v1/kv/n")
    assert (found.body, found.headers["content-type"]) == (b"-4", "text/plain; charset=utf-8")


def test_what_is_no_number_or_would_be_too_large_stays_as_it_is(ask: Client) -> None:
    for value in (b"ten", b"1.5", b"", b"+1", b"01", b" 1", b"9223372036854775808"):
        ask("PUT", b"/v1/kv/n", body=value)
        assert ask.kind("POST", b"/v1/increment?key=n") == (409, "not-a-number")
        assert ask("GET", b"/v1/kv/n").body == value
    ask("PUT", b"/v1/kv/n", body=b"9223372036854775807")
    assert ask.kind("POST", b"/v1/increment?key=n") == (409, "overflow")
    ask("PUT", b"/v1/kv/n", body=b"-9223372036854775808")
    assert ask.kind("POST", b"/v1/increment?key=n", JSON, body=b'{"by":-1}') == (409, "overflow")
    assert ask("POST", b"/v1/increment?key=n", JSON, body=b'{"by":9223372036854775807}').json()["value"] == -1


def test_a_time_to_live_is_for_a_counter_that_is_made_by_this(ask: Client) -> None:
    ask("POST", b"/v1/increment?key=n", JSON, body=b'{"ttl": 60}')
    ask.directory.now_ms += 1000
    ask("POST", b"/v1/increment?key=n", JSON, body=b'{"ttl": 60}')
    assert ask("GET", b"/v1/kv/n").headers["expires-at"] == "2025-06-15T15:07:40.000Z"


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b'{"by": "1"}',
        b'{"by": 1.5}',
        b'{"bye": 1}',
        b'{"by": 9223372036854775808}',
        b'{"ttl": 0}',
        b"\xff",
    ],
)
def test_a_body_that_says_nothing_is_refused(ask: Client, body: bytes) -> None:
    assert ask.kind("POST", b"/v1/increment?key=n", JSON, body=body) == (422, "invalid-request")


@pytest.mark.parametrize("named", [b"", b"x" * 65, b"a b", b"\x7f", "ü".encode()])
def test_a_name_of_a_request_that_is_none_is_refused(ask: Client, named: bytes) -> None:
    header = (b"idempotency-key", named)
    for method, target in (("PUT", b"/v1/kv/k"), ("DELETE", b"/v1/kv/k"), ("POST", b"/v1/increment?key=k")):
        assert ask.kind(method, target, header) == (422, "invalid-request")
    twice = (b"idempotency-key", b"a")
    assert ask.kind("PUT", b"/v1/kv/k", twice, twice) == (422, "invalid-request")
