"""The docs page's Authorize button, on a store that wants a token."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from harness.running_store import RunningStore
from serve_app.auth.secret import digest_of, new_token
from tests.browser.test_docs_page import expand, open_docs, operations, page, pytestmark

__all__ = ["page", "pytestmark"]


def test_a_token_that_was_given_to_the_button_goes_with_each_request(page: Page, tmp_path: Path) -> None:
    token = new_token()
    (tmp_path / "tokens").write_text(f"app read,write sha256:{digest_of(token.encode()).hex()}\n")
    with RunningStore(tmp_path, args={"auth": {"tokens_file": str(tmp_path / "tokens")}}) as store:
        open_docs(page, store)
        (get,) = [operation for _, _, operation in operations(store) if operation["operationId"] == "get_query"]

        def status() -> int:
            block = expand(page, get)
            with page.expect_response(lambda response: "/get?" in response.url) as response:
                block.locator("button.execute").click()
            return response.value.status

        assert status() == 401
        page.locator(".auth-wrapper .btn.authorize").click()
        page.locator(".auth-container input").fill(token)
        page.locator(".auth-btn-wrapper button[type=submit]").click()
        page.locator(".auth-btn-wrapper .btn-done").click()
        assert status() == 404
