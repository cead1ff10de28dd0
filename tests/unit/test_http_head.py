"""HEAD: what GET would say, without the value."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest

from serve_app.errors import Unavailable
from serve_app.http.front import Front
from tests.support.asgi_client import request
from tests.support.bad_requests import ODD_KEYS
from tests.support.fake_directory import FakeDirectory, http_on
from tests.support.problem import Answered

VALUES = ["", "plain", 'quotes " and \\ backslashes', "line\nbreak\ttab\r\x00\x1f\x7f", "Zoë 猫 🎈", "</script>\u2028"]


def both(app: Front, target: str) -> tuple[Answered, Answered]:
    return request(app, "HEAD", target.encode()), request(app, "GET", target.encode())


@pytest.mark.parametrize("value", VALUES, ids=ascii)
@pytest.mark.parametrize("key", ODD_KEYS[:6], ids=lambda key: ascii(key[:20]))
def test_it_is_as_long_as_what_get_sends(key: str, value: str) -> None:
    app = http_on(FakeDirectory())
    request(app, "PUT", f"/put?key={quote_plus(key)}".encode(), body=[value.encode()] if value else [])
    if not value:
        request(app, "PUT", f"/put?key={quote_plus(key)}&value=".encode())
    for target in (f"/get/{quote(key, safe='')}", f"/get?key={quote_plus(key)}"):
        head, get = both(app, target)
        assert head.status == 200
        assert head.body == b""
        assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.body))
        assert head.headers == get.headers


@pytest.mark.parametrize("target", ["/get/nothing", "/get?key=nothing", "/get", "/get?key=", "/get/%ff", "/get?kee=x"])
def test_an_error_is_that_of_get_without_its_body(target: str) -> None:
    head, get = both(http_on(FakeDirectory()), target)
    assert head.status == get.status in (404, 422)
    assert head.body == b""
    assert head.headers == get.headers


def test_a_bucket_that_is_away_is_a_503() -> None:
    directory = FakeDirectory()
    directory.failure = Unavailable("bucket-0 is away", retry_after_s=3)
    head, get = both(http_on(directory), "/get/k")
    assert (head.status, head.headers["retry-after"], head.body) == (503, "3", b"")
    assert head.headers == get.headers


def test_it_takes_no_body() -> None:
    answer = request(http_on(FakeDirectory()), "HEAD", b"/get/k", body=[b"x"])
    assert (answer.status, answer.body) == (422, b"")
