"""The console in a real browser, on a store of this process: the real front, directory and buckets behind uvicorn, no Ray.

What every test of it holds besides its own sentence: the page asks nobody but its own origin, no script of anybody else's
runs, no dialog of the browser's opens, and nothing is against its policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, expect, sync_playwright

from tests.browser.test_docs_page import _ARGS, CHROMIUM
from tests.client.served import Served, served

__all__ = ["browser", "client", "console", "expect", "http_store", "pytestmark"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; on Debian: apt-get install chromium"),
]
TIMEOUT_MS = 20_000
expect.set_options(timeout=TIMEOUT_MS)

#: What the browser itself says of an answer that is no success.
_OF_AN_ANSWER = "Failed to load resource"


class Console:
    """An open page, and what it did."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("request", lambda request: self.requests.append(f"{request.method} {request.url}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._refuse)
        page.on("console", self._hear)

    def _refuse(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _hear(self, line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            self.complaints.append(line.text)

    def open(self, fragment: str = "", *, live: bool = True) -> Page:
        """The page at a place, when its list is there and it follows what changes."""
        self.page.goto(f"{self.url}/console{fragment}")
        if live:
            expect(self.page.locator("#live")).to_have_text("Live")
            expect(self.page.locator("#rows")).not_to_have_attribute("aria-busy", "true")
        return self.page

    def asked(self, path: str) -> list[str]:
        """The requests for a path, with their queries."""
        return [line for line in self.requests if re.search(rf" {re.escape(self.url)}{path}(?:\?|$)", line)]

    def row(self, name: str) -> Any:
        """The list's row of a key or a folder."""
        return self.page.locator(f"#rows a[data-name={_quoted(name)}]")

    def names(self) -> list[str]:
        """Of all rows, in order."""
        found: list[str] = self.page.eval_on_selector_all("#rows a", "rows => rows.map(row => row.dataset.name)")
        return found

    def shows(self, *names: str) -> None:
        """Wait for these rows and no others."""
        eventually(lambda: self.names() == list(names), self.page)

    def focused(self) -> str:
        """The name of the row that has the focus, or what else does."""
        said = "document.activeElement.dataset.name ?? document.activeElement.id ?? document.activeElement.tagName"
        return str(self.page.evaluate(said))

    def check(self) -> None:
        """What holds for all tests."""
        elsewhere = [line for line in self.requests if not line.split(" ", 1)[1].startswith((self.url + "/", "blob:"))]
        assert elsewhere == []
        assert [line for line in self.complaints if _OF_AN_ANSWER not in line] == []
        assert self.dialogs == []


def _quoted(text: str) -> str:
    return '"' + re.sub(r"[^\w./ -]", lambda found: f"\\{ord(found[0]):x} ", text) + '"'


@contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Console]:
    """A page in a context of its own: nothing is kept from another."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 820}} | options))
    try:
        console = Console(context.new_page(), url)
        yield console
        console.check()
    finally:
        context.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def http_store() -> Iterator[Served]:
    with served() as store:
        yield store


@pytest.fixture
def console(browser: Browser, http_store: Served) -> Iterator[Console]:
    with opened(browser, http_store.url) as console:
        yield console


class Client(httpx.Client):
    """Another client of the store."""

    def store(self, key: str, value: str | bytes, content_type: str = "text/plain", **parameters: Any) -> str:
        """Put it; its ETag."""
        headers = {"content-type": content_type}
        answer = self.put("/v1/kv", params={"key": key, **parameters}, content=value, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return answer.headers["etag"]

    def read(self, key: str) -> httpx.Response:
        return self.get("/v1/kv", params={"key": key})


@pytest.fixture
def client(http_store: Served) -> Iterator[Client]:
    with Client(base_url=http_store.url, timeout=30) as client:
        yield client


def eventually(condition: Callable[[], bool], page: Page) -> None:
    """Wait for what is no element, while the page goes on."""
    for _ in range(TIMEOUT_MS // 50):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come about")
