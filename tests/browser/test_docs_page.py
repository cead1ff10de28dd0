"""The docs page in a real browser: complete, working, and without the internet."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, sync_playwright

from harness.running_store import RunningStore
from serve_app.http.first_routes import FIRST_ROUTES
from serve_app.http.v1.routes import V1_ROUTES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; on Debian: apt-get install chromium"),
]

#: Chromium's own calls home are off, so that every request seen is the page's.
_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class Seen:
    """What the browser asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.urls: list[str] = []
        self.complaints: list[str] = []
        page.context.on("request", lambda request: self.urls.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(f"{request.url}: {request.failure}"))
        page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGS)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def open_docs(page: Page, store: RunningStore) -> Seen:
    """Open the root, which leads to the page, and wait until it is drawn."""
    seen = Seen(page)
    page.goto(store.url + "/")
    page.wait_for_selector(".opblock")
    assert page.url == store.url + "/docs"
    return seen


def operations(store: RunningStore) -> list[tuple[str, str, dict[str, Any]]]:
    with store.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    return [(method, path, item) for path, methods in paths.items() for method, item in methods.items()]


def expand(page: Page, operation: dict[str, Any]) -> Locator:
    """Open an operation's block, if it is closed; the block."""
    tag = operation["tags"][0].replace(" ", "_")
    assert tag.isidentifier(), "the page would escape anything else in its links"
    block = page.locator(f"#operations-{tag}-{operation['operationId']}")
    if "is-open" not in (block.get_attribute("class") or ""):
        block.locator(".opblock-summary-control").click()
    block.locator(".opblock-body .responses-table").first.wait_for()
    return block


def test_the_page_loads_without_any_other_host(page: Page, store: RunningStore, tmp_path: Path) -> None:
    seen = open_docs(page, store)
    page.screenshot(path=tmp_path / "docs.png", full_page=True)
    page.wait_for_load_state("networkidle")
    assert any(url.endswith("swagger-ui-bundle.js") for url in seen.urls)
    elsewhere = [url for url in seen.urls if not url.startswith((store.url + "/", "data:", "blob:"))]
    assert not elsewhere
    assert not seen.complaints
    assert (tmp_path / "docs.png").stat().st_size > 10_000


def test_the_page_shows_every_route_and_what_it_answers(page: Page, store: RunningStore) -> None:
    open_docs(page, store)
    found = operations(store)
    declared = {(route.method.lower(), route.path.replace(":path", "")) for route in (*V1_ROUTES, *FIRST_ROUTES)}
    assert {(method, path) for method, path, _ in found} == declared | {("get", "/health"), ("get", "/topology")}
    assert page.locator(".opblock").count() == len(found)
    for method, path, operation in found:
        block = expand(page, operation)
        assert block.locator(".opblock-summary-method").inner_text().lower() == method
        assert block.locator(".opblock-summary-path").inner_text().replace("\u200b", "") == path
        assert operation["summary"] in block.inner_text()
        for parameter in operation.get("parameters", []):
            row = block.locator(f"tr[data-param-name='{parameter['name']}']")
            if "example" in parameter:
                assert row.locator("input").input_value() == str(parameter["example"])
            assert parameter["description"][:20] in row.inner_text()
        for status, answer in operation["responses"].items():
            row = block.locator(f"tr.response[data-code='{status}']")
            if answer.get("content", {}).keys() & {"application/json", "application/problem+json"}:
                shows_answer(row, status)
            else:
                assert answer["description"] in row.inner_text()


def shows_answer(row: Locator, status: str) -> None:
    """An answer's row has an example, and the fields of its model."""
    example = json.loads(row.locator(".highlight-code code").inner_text())
    row.get_by_role("tab", name="Schema").click()
    fields = row.locator(".model-example").inner_text()
    if status != "200":
        assert example["type"].startswith("urn:cloud-storage:")
        assert example["status"] == int(status)
        assert "Problem" in fields
    for field in example:
        assert field in fields


def try_out(block: Locator, **fields: str) -> tuple[int, Any]:
    """Fill in, press Execute, and read the answer off the page."""
    for name, value in fields.items():
        block.locator(f"tr[data-param-name='{name}'] input").fill(value)
    block.locator("button.execute").click()
    row = block.locator(".live-responses-table tr.response")
    row.wait_for()
    status = row.locator(".response-col_status").inner_text().split()[0]
    # The first of these is the body, or where there is none the headers; the page draws the row in one go.
    shown = row.locator(".highlight-code code, .microlight").first.inner_text()
    try:
        return int(status), json.loads(shown)
    except ValueError:
        return int(status), shown


def test_the_page_puts_gets_and_deletes(page: Page, store: RunningStore) -> None:
    seen = open_docs(page, store)
    by_id = {operation["operationId"]: operation for _, _, operation in operations(store)}
    key = "docs/page key+%?#ä"
    for get, delete in (("get_path", "delete_path"), ("get_query", "delete_query")):
        put = try_out(expand(page, by_id["put"]), key=key, value="made by hand")
        assert (put[0], put[1]["key"], put[1]["value"]) == (200, key, "made by hand")
        got = try_out(expand(page, by_id[get]), key=key)
        assert (got[0], got[1]["value"]) == (200, "made by hand")
        deleted = try_out(expand(page, by_id[delete]), key=key)
        assert (deleted[0], deleted[1]["value"]) == (200, "made by hand")
        with store.client() as client:
            assert client.get("/get", params={"key": key}).status_code == 404
        page.reload()
        page.wait_for_selector(".opblock")
    missing = try_out(expand(page, by_id["get_query"]), key=key)
    assert (missing[0], missing[1]["type"]) == (404, "urn:cloud-storage:key-not-found")
    assert all(url.startswith((store.url + "/", "data:", "blob:")) for url in seen.urls)


def test_what_the_page_fills_in_works_as_it_is(page: Page, store: RunningStore) -> None:
    """Who presses Execute without typing anything gets an answer, not a refusal."""
    open_docs(page, store)
    by_id = {operation["operationId"]: operation for _, _, operation in operations(store)}
    try:
        assert try_out(expand(page, by_id["put"]))[0] == 200
        assert try_out(expand(page, by_id["get_path"]))[1]["value"] == "world"
        assert try_out(expand(page, by_id["health"])) == (200, {"bucket_count": 3})
        assert try_out(expand(page, by_id["topology"]))[0] == 200
        assert try_out(expand(page, by_id["delete_query"]))[0] == 200
        assert try_out(expand(page, by_id["kv_put_path"]))[0] == 201
        assert "etag" in try_out(expand(page, by_id["kv_head_path"]))[1]
        assert try_out(expand(page, by_id["kv_get_path"])) == (200, "world")
        assert try_out(expand(page, by_id["touch"]))[1]["expires"] > "2026"
        assert try_out(expand(page, by_id["increment"]))[1]["value"] == 1
        assert try_out(expand(page, by_id["keys"]))[1]["keys"][0]["key"] == "hello"
        assert [each["status"] for each in try_out(expand(page, by_id["batch"]))[1]["results"]] == [200, 200]
        assert try_out(expand(page, by_id["import"]))[1] == {"imported": 1, "expired": 0}
    finally:
        with store.client() as client:
            client.delete("/delete/hello")
            client.delete("/v1/kv/visits")


def test_a_value_can_be_sent_as_the_body(page: Page, store: RunningStore) -> None:
    open_docs(page, store)
    by_id = {operation["operationId"]: operation for _, _, operation in operations(store)}
    block = expand(page, by_id["put"])
    block.locator("textarea").fill("from the body")
    status, answer = try_out(block, key="docs-body", value="")
    assert (status, answer["value"]) == (200, "from the body")
    with store.client() as client:
        assert client.delete("/delete/docs-body").json()["value"] == "from the body"
