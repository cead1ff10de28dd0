"""The console on a real store, through Serve's ingress."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from harness.running_store import RunningStore
from tests.browser.console import Client, browser, expect, opened, pytestmark

__all__ = ["browser"]

pytestmark = [*pytestmark, pytest.mark.ray]


def test_it_is_live_through_the_ingress_and_the_docs_page_leads_to_it(browser: Browser, store: RunningStore) -> None:
    with Client(base_url=store.url, timeout=30) as client, opened(browser, store.url) as console:
        client.store("console/a", "first")
        try:
            page = console.page
            page.goto(f"{store.url}/docs")
            link = page.get_by_role("link", name="console")
            page.goto(link.evaluate("link => link.href"))  # it would open a tab of its own
            assert page.url == f"{store.url}/console"
            page.get_by_role("link", name="console/").click()
            console.row("console/a").click()
            expect(page.locator(".value")).to_have_text("first")
            expect(page.locator("#live")).to_have_text("Live")
            client.store("console/a", "second")
            expect(page.locator(".value")).to_have_text("second")
            expect(page.locator("#store-summary")).to_contain_text("3 buckets")
            page.get_by_role("button", name="Edit").click()
            page.locator("textarea").fill("third")
            page.get_by_role("button", name="Save").click()
            expect(page.locator(".value")).to_have_text("third")
            assert client.read("console/a").text == "third"
        finally:
            client.delete("/v1/kv/console/a")
