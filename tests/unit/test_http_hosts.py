"""Which hosts a request may name, and what every answer says of itself."""

from __future__ import annotations

import socket

import pytest
from pydantic import ValidationError

from serve_app.http.hosts import Hosts
from serve_app.loopback import listens_on_loopback
from serve_app.settings import Settings
from tests.support.asgi_client import request
from tests.support.fake_directory import FakeDirectory, http_on
from tests.support.problem import check_problem

LOOPBACK = [
    b"localhost", b"localhost:8000", b"LocalHost:8000", b"localhost.", b"localhost.:80", b"localhost:", b"store.localhost:1",
    b"127.0.0.1", b"127.0.0.1:8000", b"127.8.9.10:8000", b"[::1]", b"[::1]:8000", b"[0:0:0:0:0:0:0:1]:8000",
]  # fmt: skip
OTHERS = [
    b"evil.example", b"evil.example:8000", b"localhost.evil.example", b"127.0.0.1.evil.example", b"notlocalhost",
    b"10.0.0.1:8000", b"0.0.0.0:8000", b"128.0.0.1", b"[::2]:8000", b"[fe80::1]", b"", b":8000", b"localhost:port",
    b"localhost:80:90", b"[::1", b"[::1]x", b"::1", b"evil.example@localhost", b"evil.example/.localhost", b"local\xe4host",
    b"local host", b"[]", b".", b"localhost,evil.example",
]  # fmt: skip
EVERY_ROUTE = [
    ("GET", b"/get/k"), ("GET", b"/get?key=k"), ("PUT", b"/put?key=k&value=w"), ("DELETE", b"/delete/k"),
    ("DELETE", b"/delete?key=k"), ("GET", b"/health"), ("GET", b"/topology"), ("GET", b"/docs"), ("GET", b"/"),
    ("GET", b"/docs/assets/favicon.png"), ("GET", b"/openapi.json"), ("GET", b"/none"), ("POST", b"/put"),
    ("OPTIONS", b"/get/k"), ("HEAD", b"/get/k"),
]  # fmt: skip


def on_loopback(*allowed: str) -> Hosts:
    return Hosts(allowed, "127.0.0.1")


def status(hosts: Hosts, *named: bytes) -> int:
    app = http_on(FakeDirectory(), hosts=hosts)
    return request(app, "GET", b"/get/k", headers=[(b"host", name) for name in named]).status


@pytest.mark.parametrize("host", LOOPBACK)
def test_on_loopback_loopback_is_taken(host: bytes) -> None:
    assert status(on_loopback(), host) == 404


@pytest.mark.parametrize("host", OTHERS)
def test_on_loopback_nothing_else_is_taken(host: bytes) -> None:
    assert status(on_loopback(), host) == 421


def test_a_request_names_one_host() -> None:
    assert status(on_loopback()) == 421
    assert status(on_loopback(), b"localhost", b"localhost") == 421
    assert status(on_loopback(), b"localhost", b"evil.example") == 421
    assert status(on_loopback(), b"evil.example", b"localhost") == 421


def test_one_that_was_found_good_before_brings_no_second_one_in() -> None:
    hosts = on_loopback()
    assert status(hosts, b"localhost") == 404
    assert status(hosts, b"localhost", b"evil.example") == 421
    assert status(hosts, b"localhost", b"localhost") == 421


@pytest.mark.parametrize(("method", "target"), EVERY_ROUTE)
def test_another_sites_page_reaches_no_route(method: str, target: bytes) -> None:
    directory = FakeDirectory()
    directory.records[b"k"] = (b"a secret", "text/plain")
    answer = request(
        http_on(directory, hosts=on_loopback("store.example")),
        method,
        target,
        headers=[(b"host", b"evil.example:8000")],
    )
    if method == "HEAD":
        assert (answer.status, answer.body) == (421, b"")
    else:
        assert "allowed_hosts" in check_problem(answer, 421)
    assert b"store.example" not in answer.body, "a page that looks for the names that are taken is not told"
    assert directory.records == {b"k": (b"a secret", "text/plain")}


def test_what_is_configured_is_taken_as_well() -> None:
    hosts = on_loopback("store.example", "10.0.0.1", "::2")
    for name in (b"store.example", b"STORE.example.:443", b"10.0.0.1:80", b"[::2]:80", b"localhost"):
        assert status(hosts, name) == 404, name
    assert status(hosts, b"sub.store.example") == 421
    assert status(on_loopback("*"), b"evil.example") == 404


def test_the_name_that_the_api_listens_on_is_taken() -> None:
    assert status(Hosts((), "MyBox."), b"mybox:8000") == 404
    assert status(Hosts((), "MyBox."), b"localhost:8000") == 404
    assert status(Hosts((), "MyBox."), b"otherbox:8000") == 421
    assert status(Hosts((), "::1"), b"[::1]:8000") == 404


def test_elsewhere_all_are_taken_unless_some_are_configured() -> None:
    assert status(Hosts(()), b"anything") == 404
    assert status(Hosts(())) == 404
    named = Hosts(("store.example",))
    assert status(named, b"store.example") == 404
    assert status(named, b"localhost:8888") == 404, "what `kuberay open` leads to"
    assert status(named, b"evil.example") == 421


def test_what_is_remembered_of_good_hosts_is_bounded() -> None:
    hosts = on_loopback()
    for port in range(10_000):
        assert status_of(hosts, b"localhost:%d" % port)
        assert not status_of(hosts, b"evil.example:%d" % port)
    assert len(hosts._good) < 100


def status_of(hosts: Hosts, host: bytes) -> bool:
    return hosts.admit({"headers": [(b"accept", b"*/*"), (b"host", host)]})


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "http://store.example",
        "store.example:80",
        "store.example/path",
        "a b",
        "*.example",
        "[::1]:80",
        "ä.example",
        "a..b",
    ],
)
def test_a_configured_host_is_a_name_or_an_address(wrong: str) -> None:
    with pytest.raises(ValidationError, match="is no host"):
        Settings.model_validate({"data_dir": "d", "allowed_hosts": ["fine.example", wrong]})


def test_configured_hosts_are_kept_as_they_are_compared() -> None:
    given = ["Store.Example.", "[::1]", "10.0.0.1", "*"]
    settings = Settings.model_validate({"data_dir": "d", "allowed_hosts": given})
    assert settings.allowed_hosts == ("store.example", "::1", "10.0.0.1", "*")
    with pytest.raises(ValidationError):
        Settings.model_validate({"data_dir": "d", "allowed_hosts": "store.example"})


def test_where_an_api_is_for_this_machine_alone() -> None:
    for host in ("127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST", "::1"):
        assert listens_on_loopback(host), host
    for host in ("0.0.0.0", "::", "", "10.0.0.1", "no-such-host.invalid", "a" * 300):
        assert not listens_on_loopback(host), host


@pytest.mark.parametrize(("addresses", "alone"), [(["127.0.0.1", "::1"], True), (["127.0.1.1", "10.0.0.7"], False)])
def test_a_name_of_several_addresses_is_loopback_where_all_are(
    addresses: list[str], alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's /etc/hosts has the machine's own name on 127.0.1.1, beside what a name server says."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **options: found)
    assert listens_on_loopback("my-box") == alone


@pytest.mark.parametrize(("method", "target"), [route for route in EVERY_ROUTE if route[1] != b"/topology"])
@pytest.mark.parametrize("size", [10, 300_000])
def test_every_answer_says_that_it_is_what_its_type_says_and_is_not_kept(method: str, target: bytes, size: int) -> None:
    directory = FakeDirectory()
    directory.records[b"k"] = (b"v" * size, "text/plain")
    answer = request(http_on(directory), method, target)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == ("no-cache" if b"assets" in target else "no-store")


def test_an_answer_to_a_mistake_of_ours_says_so_too() -> None:
    directory = FakeDirectory()
    directory.failure = ZeroDivisionError()
    answer = request(http_on(directory), "GET", b"/get/k")
    assert answer.status == 500
    assert answer.headers["cache-control"] == "no-store"


def test_the_pages_files_are_asked_for_again_only_where_they_have_changed() -> None:
    app = http_on(FakeDirectory())
    first = request(app, "GET", b"/docs/assets/swagger-ui.css")
    again = request(
        app, "GET", b"/docs/assets/swagger-ui.css", headers=[(b"if-none-match", first.headers["etag"].encode())]
    )
    assert (first.status, again.status, again.body) == (200, 304, b"")
    assert again.headers["cache-control"] == "no-cache"


def test_an_address_is_the_same_in_every_spelling() -> None:
    settings = Settings.model_validate({"data_dir": "d", "allowed_hosts": ["2001:DB8:0::1"]})
    hosts = on_loopback(*settings.allowed_hosts)
    for spelling in (b"[2001:db8::1]", b"[2001:DB8:0:0::1]:8000"):
        assert hosts.admit({"headers": [(b"host", spelling)]})
    assert not hosts.admit({"headers": [(b"host", b"[2001:db8::2]")]})
