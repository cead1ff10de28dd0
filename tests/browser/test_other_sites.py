"""Pages of other sites, in a real browser, against a store that listens on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from harness.running_store import RunningStore
from tests.browser.test_docs_page import _ARGS, CHROMIUM

pytestmark = [
    pytest.mark.ray,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; on Debian: apt-get install chromium"),
]

#: A site whose owner has bound its name to the visitor's own machine.
REBOUND = "rebound.example"
KEY = "other-sites"
#: What a page there would do. It is the store's own site to the browser, so nothing is asked of the store beforehand.
ASK = """async ([method, target]) => {
    const answer = await fetch(target, {method});
    return [answer.status, await answer.text()];
}"""


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        arguments = [*_ARGS, f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1", "--no-proxy-server"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def ask(page: Page, method: str, target: str) -> tuple[int, str]:
    status, body = page.evaluate(ASK, [method, target])
    return int(status), str(body)


def test_a_page_whose_name_was_bound_to_this_machine_gets_nothing(page: Page, store: RunningStore) -> None:
    with store.client() as client:
        assert client.put("/put", params={"key": KEY, "value": "a secret"}).status_code == 200
        response = page.goto(f"http://{REBOUND}:{store.port}/docs")
        assert response is not None
        assert response.status == 421
        requests: list[tuple[str, str]] = [
            ("GET", f"/get/{KEY}"), ("GET", f"/get?key={KEY}"), ("PUT", f"/put?key={KEY}&value=overwritten"),
            ("DELETE", f"/delete/{KEY}"), ("GET", "/topology"), ("GET", "/health"), ("GET", "/openapi.json"),
        ]  # fmt: skip
        for method, target in requests:
            status, body = ask(page, method, target)
            assert status == 421, target
            assert "a secret" not in body
            assert str(store.data_dir) not in body
        assert client.get(f"/get/{KEY}").json()["value"] == "a secret"
        client.delete(f"/delete/{KEY}")


def test_the_stores_own_page_is_let_in_by_each_name_of_this_machine(page: Page, store: RunningStore) -> None:
    for host in ("127.0.0.1", "localhost", "store.localhost"):
        page.goto(f"http://{host}:{store.port}/docs")
        assert ask(page, "GET", "/health")[0] == 200, host


def test_a_page_from_elsewhere_can_neither_read_nor_change(page: Page, store: RunningStore) -> None:
    """Without rebinding: the browser asks the store for permission, which is given to nobody."""
    with store.client() as client:
        assert client.put("/put", params={"key": KEY, "value": "a secret"}).status_code == 200
        page.route(
            "http://elsewhere.example/", lambda route: route.fulfill(body="<p>a page</p>", content_type="text/html")
        )
        page.goto("http://elsewhere.example/")
        attempts: list[Any] = []
        for method, target in (
            ("GET", f"/get/{KEY}"),
            ("PUT", f"/put?key={KEY}&value=x"),
            ("DELETE", f"/delete/{KEY}"),
        ):
            attempts.append(
                page.evaluate(
                    "([method, url]) => fetch(url, {method}).then(() => 'answered', error => error.name)",
                    [method, store.url + target],
                )
            )
        assert attempts == ["TypeError"] * 3
        assert client.get(f"/get/{KEY}").json()["value"] == "a secret"
        client.delete(f"/delete/{KEY}")
