"""What the console shows by itself: what others change, the buckets, a move under way; and nothing while it is hidden."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from serve_app.resharding import coordinator
from serve_app.settings import Limits
from tests.browser.console import (
    Client,
    Console,
    browser,
    client,
    console,
    eventually,
    expect,
    http_store,
    opened,
    pytestmark,
)  # fmt: skip
from tests.client.served import Served

__all__ = ["browser", "client", "console", "http_store", "pytestmark"]

HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_what_another_client_does_is_seen(console: Console, client: Client) -> None:
    client.store("live/a", "first")
    page = console.open("#prefix=live/&key=live/a")
    expect(page.locator(".value")).to_have_text("first")
    client.store("live/a", "second")
    expect(page.locator(".value")).to_have_text("second")
    client.store("live/b", "new")
    expect(console.row("live/b")).to_be_visible()
    client.delete("/v1/kv/live/b")
    expect(console.row("live/b")).to_have_count(0)
    client.store("live/a", "going", ttl=0.2)
    expect(page.locator("#record")).to_contain_text("No record has this key (any more).")
    expect(console.row("live/a")).to_have_count(0)


def test_an_open_editor_is_told_and_keeps_what_was_typed(console: Console, client: Client) -> None:
    client.store("told", "first")
    page = console.open("#key=told")
    page.get_by_role("button", name="Edit").click()
    page.locator("textarea").fill("mine")
    client.store("told", "theirs")
    expect(page.get_by_role("alert")).to_contain_text("Someone else has written this key meanwhile.")
    expect(page.locator("textarea")).to_have_value("mine")
    page.get_by_role("button", name="Load theirs").click()
    expect(page.locator(".value")).to_have_text("theirs")


def test_many_changes_cost_few_requests(console: Console, client: Client) -> None:
    console.open("#prefix=storm/")
    before = len(console.asked("/v1/keys"))
    for number in range(300):
        client.store(f"storm/{number:03}", "x")
    expect(console.page.locator("#list-note")).to_contain_text("more follow")
    assert len(console.asked("/v1/keys")) - before <= 30
    console.page.get_by_role("button", name="More").click()
    expect(console.row("storm/299")).to_be_visible()


def test_a_hidden_page_asks_for_nothing_and_goes_on_where_it_was(console: Console, client: Client) -> None:
    console.page.clock.install()
    client.store("hidden/a", "x")
    page = console.open("#prefix=hidden/&key=hidden/a")
    expect(page.locator("#store-summary")).to_contain_text("2 buckets")
    page.evaluate(HIDE, True)
    client.store("hidden/b", "x")
    client.store("hidden/a", "changed")
    before = list(console.requests)
    page.clock.run_for(120_000)
    assert console.requests == before
    headers: list[dict[str, str]] = []
    page.on("request", lambda request: headers.append(request.headers) if "/v1/watch" in request.url else None)
    page.evaluate(HIDE, False)
    expect(console.row("hidden/b")).to_be_visible()
    expect(page.locator(".value")).to_have_text("changed")
    assert headers[0]["last-event-id"]
    eventually(lambda: len(console.asked("/topology")) > len([line for line in before if "/topology" in line]), page)


def test_a_watch_whose_history_is_gone_looks_at_everything_again(console: Console, client: Client) -> None:
    page = console.open("#prefix=gone/")
    page.evaluate(HIDE, True)
    client.store("gone/a", "x")
    problem = {"type": "urn:cloud-storage:history-lost", "title": "", "status": 410, "detail": "not known any more"}

    def lose(route: Any) -> None:
        if "last-event-id" in route.request.headers:
            route.fulfill(status=410, body=json.dumps(problem), content_type="application/problem+json")
        else:
            route.fallback()

    page.route("**/v1/watch*", lose)
    page.evaluate(HIDE, False)
    expect(page.locator("#live")).to_have_text("Live")
    expect(console.row("gone/a")).to_be_visible()


def test_the_buckets_are_shown_with_what_they_hold(console: Console, client: Client) -> None:
    client.store("bucket", "x")
    page = console.open()
    page.get_by_role("button", name="Buckets").click()
    rows = page.locator("#buckets tbody tr")
    expect(rows).to_have_count(2)
    topology = client.get("/topology").json()
    for row, bucket in zip(rows.all(), topology["buckets"], strict=True):
        cells = row.locator("td").all_inner_texts()
        assert cells[0] == "serves"
        assert cells[1] == f"{bucket['keys']:,}"
        assert re.fullmatch(r"[\d.,]+ [kMGT]?B", cells[3])
        assert cells[4] == "0"
    expect(page.locator("#store-summary")).to_contain_text("1 copy")
    expect(page.locator("#store-summary")).to_contain_text("writes/s")
    for number in range(50):
        client.store(f"rate/{number}", "x")
    expect(page.locator("#store-summary")).to_contain_text(re.compile(r"· [1-9][\d.]* writes/s|· 0\.[1-9] writes/s"))


def with_topology(page: Page, change: Any) -> None:
    """Answer /topology as the store does, but for this."""

    def answer(route: Any) -> None:
        body = route.fetch().json()
        change(body)
        route.fulfill(json=body)

    page.route("**/topology", answer)


def test_what_is_wrong_with_buckets_is_said(console: Console) -> None:
    def break_it(body: dict[str, Any]) -> None:
        body |= {"problem": "<b>65 buckets are more than 64</b>", "copies": 2}
        body["buckets"][0] |= {"reachable": False, "keys": None, "bytes": None, "last_error": "<i>the disk is gone</i>"}
        body["buckets"][1] |= {"disk_full": True}

    with_topology(console.page, break_it)
    page = console.open()
    expect(page.locator("#store-summary")).to_contain_text("1 away")
    expect(page.locator("#store-summary")).to_contain_text("2 copies")
    page.get_by_role("button", name="Buckets").click()
    expect(page.locator("#buckets")).to_contain_text("<b>65 buckets are more than 64</b>")
    expect(page.locator("#buckets")).to_contain_text("<i>the disk is gone</i>")
    assert page.locator(".state").all_inner_texts() == ["away", "disk full"]


@pytest.fixture
def growing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A store of two buckets, with a third one at hand, that moves its keys slowly."""
    monkeypatch.setattr(coordinator, "AGREED_S", 0.05)
    limits = Limits(request_timeout_s=5.0, disk_reserve_bytes=0, move_bytes_per_s=100_000)
    store = Served(2, buckets=3, limits=limits)
    store.start()
    yield store
    store.stop()


def test_a_move_under_way_is_shown_until_it_is_done(browser: Browser, growing: Served) -> None:
    with Client(base_url=growing.url) as client, opened(browser, growing.url) as console:
        operations = [{"op": "put", "key": f"move/{n:04}", "value": "x" * 1000} for n in range(1000)]
        assert client.post("/v1/batch", json={"operations": operations}).status_code == 200
        page = console.open()
        page.get_by_role("button", name="Buckets").click()
        growing.do(lambda directory: directory.configuration.follow(3))
        expect(page.locator("#move")).to_contain_text("Moving from 2 to 3 buckets")
        expect(page.locator("#move")).to_contain_text(re.compile(r"[1-9]\d* of about \d+ keys · .*left"))
        expect(page.locator("#buckets tbody tr")).to_have_count(3)
        expect(page.locator("#buckets td progress").first).to_be_visible()
        expect(page.locator("#buckets")).to_contain_text("joining")
        expect(page.locator("#move")).to_be_hidden(timeout=60_000)
        expect(page.locator("#store-summary")).to_contain_text("3 buckets")
        expect(page.locator("#store-said")).to_have_text("The move is done: 3 buckets.")
        expect(page.locator("#store-summary")).to_contain_text("1,000 records")
