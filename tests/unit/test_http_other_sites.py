"""What a page of another site can have a browser send without asking first is refused (tests/browser has a real one)."""

from __future__ import annotations

import pytest

from tests.support.asgi_client import request
from tests.support.fake_directory import FakeDirectory, http_on

HOST = (b"host", b"127.0.0.1:8000")


def touch(*headers: tuple[bytes, bytes]) -> int:
    return request(http_on(FakeDirectory()), "POST", b"/v1/touch?key=k&ttl=1", headers=[HOST, *headers]).status


@pytest.mark.parametrize("origin", [b"http://evil.example", b"null", b"http://127.0.0.1:9000", b"https://127.0.0.1"])
def test_a_post_from_another_site_is_refused(origin: bytes) -> None:
    assert touch((b"origin", origin)) == 403


def test_one_from_the_stores_own_page_is_taken_and_so_is_one_that_no_page_sends() -> None:
    assert touch((b"origin", b"http://127.0.0.1:8000")) == touch() == 404


@pytest.mark.parametrize("target", [b"/v1/increment?key=k", b"/v1/batch", b"/v1/import"])
@pytest.mark.parametrize(
    "media_type", [b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data", b""]
)
def test_a_body_of_a_type_that_forms_have_is_refused(target: bytes, media_type: bytes) -> None:
    """For such a one a browser asks nobody."""
    headers = [HOST, (b"content-type", media_type), (b"content-length", b"2")]
    assert request(http_on(FakeDirectory()), "POST", target, headers=headers, body=[b"{}"]).status == 415
