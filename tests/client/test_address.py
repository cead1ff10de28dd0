"""What is a store's URL and what is not, told before anything is sent."""

from __future__ import annotations

import pytest

from cloud_storage import Store
from cloud_storage.address import address_of


@pytest.mark.parametrize(
    "url",
    [
        "store",
        "127.0.0.1:8000",
        "ftp://store",
        "http://",
        "http:///path",
        "http://store:port",
        "http://store:99999",
        "http://[::1",
        "http://.",
        f"http://{'a' * 64}.example",
        "http://a b",
        "http://a\\b",
        "http://store/a b",
        "http://store/\r\nHost: other",
        "http://store/ä",
        "http://store\n",
        "http://user@store",
        "http://store?key=a",
        "http://store#a",
    ],
)
def test_what_is_no_stores_url_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a store, such as http"):
        address_of(url, "", 1.0)


@pytest.mark.parametrize("url", ["http://user:secret@store", "http://user:se/secret@store", "user:secret@store"])
def test_a_password_in_a_url_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a store") as refused:
        address_of(url, "", 1.0)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "prefix"),
    [
        ("http://store", "store", 80, ""),
        ("https://store/", "store", 443, ""),
        ("http://[::1]:8000/a/b/", "::1", 8000, "/a/b"),
        ("HTTP://Store:1", "store", 1, ""),
        ("http://bücher.example:8000", "bücher.example", 8000, ""),
    ],
)
def test_what_is_one_is_taken(url: str, host: str, port: int, prefix: str) -> None:
    address = address_of(url, "", 1.0)
    assert (address.host, address.port, address.prefix) == (host, port, prefix)


@pytest.mark.parametrize("timeout", [0.0, -1.0, 541.0, float("nan")])
def test_a_timeout_has_bounds(timeout: float) -> None:
    with pytest.raises(ValueError, match="a timeout is more than 0 and at most 540 s"):
        address_of(None, "", timeout)


@pytest.mark.parametrize("wrong", ["se cret", "secr\x00et", "sécret"])
def test_a_token_that_is_none_is_not_shown(wrong: str) -> None:
    with pytest.raises(ValueError) as refused:
        Store(token="x" + wrong)
    assert "cret" not in str(refused.value)
    assert "secret" not in repr(Store(token="secret"))
