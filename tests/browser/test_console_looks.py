"""How the console looks: dark and light, readable, on narrow screens too, and with names for who can't see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.console import (
    Client,
    Console,
    browser,
    client,
    expect,
    http_store,
    opened,
    pytestmark,
)  # fmt: skip
from tests.client.served import Served

__all__ = ["browser", "client", "http_store", "pytestmark"]

#: Of each piece of text that is shown: the text, and its contrast with what is behind it (WCAG 2.2, 1.4.3).
CONTRASTS = """() => {
    const parts = colour => (colour.match(/[\\d.]+/g) ?? []).map(Number);
    const light = colour => {
        const [red, green, blue] = parts(colour).slice(0, 3).map(part => part / 255)
            .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = element => {
        for (let each = element; each; each = each.parentElement) {
            const colour = getComputedStyle(each).backgroundColor;
            const alpha = parts(colour)[3] ?? 1;
            if (alpha === 1) return colour;
            if (alpha !== 0) throw new Error(`what is behind ${element.outerHTML} shines through`);
        }
        throw new Error("nothing is behind it");
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        const field = element.matches("input, textarea") && (element.value || element.placeholder);
        if (!(own || field) || !element.checkVisibility() || element.matches("noscript, option, :disabled")) continue;
        const pseudo = element.matches("input") && !element.value ? "::placeholder" : null;
        const [one, other] = [getComputedStyle(element, pseudo).color, behind(element)].map(light).sort((a, b) => b - a);
        found.push([element.textContent.trim() || element.value || element.placeholder, (one + 0.05) / (other + 0.05)]);
    }
    return found;
}"""
#: What can be pressed or filled in and has no name, or is not seen when it has the focus.
NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, textarea")]
    .filter(element => element.checkVisibility())
    .filter(element => !(element.textContent.trim() || element.ariaLabel || element.labels?.length))
    .map(element => element.outerHTML)"""


def check(console: Console, dark: bool) -> None:
    contrasts = console.page.evaluate(CONTRASTS)
    assert len(contrasts) > 10
    assert [(text, contrast) for text, contrast in contrasts if contrast < 4.5] == []
    assert console.page.evaluate(NAMELESS) == []
    ground = console.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(ground) < 64) if dark else (min(ground) > 192)


def moving(body: dict[str, Any]) -> None:
    body |= {"phase": "moving", "target_count": 3, "expected_end_s": 83.0, "problem": "something to be said"}
    for bucket in body["buckets"]:
        bucket |= {"moved": 400, "remaining": 800, "keys_per_s": 9.6, "moved_bytes": 0, "remaining_bytes": 0}
    body["buckets"][1] |= {"disk_full": True}
    body["buckets"].append(body["buckets"][0] | {"bucket_id": 2, "last_error": "a damaged record"})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_all_text_can_be_read_in_both_schemes_on_every_screen(
    browser: Browser, http_store: Served, client: Client, tmp_path: Path, scheme: str, width: int
) -> None:
    client.store("looks/a folder/b", "x")
    client.store("looks/json", '{"a": [1, 2, {"b": "' + "long " * 200 + '"}]}', "application/json", ttl=3600)
    client.store("looks/" + "a long name " * 20, "x" * 5000)
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 740}, "reduced_motion": "reduce"}
    with opened(browser, http_store.url, **options) as console:

        def topology(route: Any) -> None:
            body = route.fetch().json()
            moving(body)
            route.fulfill(json=body)

        def look(name: str) -> None:
            console.page.screenshot(path=tmp_path / f"{name}.png")
            check(console, scheme == "dark")
            assert console.page.evaluate("document.documentElement.scrollWidth") <= width

        console.page.route("**/topology", topology)
        page = console.open("#prefix=looks/")
        expect(page.locator("#move")).to_contain_text("1 min 23 s left")
        look("list")
        page.get_by_role("button", name="Buckets").click()
        expect(page.locator("#buckets tbody tr")).to_have_count(3)
        look("buckets")
        page.keyboard.press("b")
        console.row("looks/json").click()
        expect(page.locator(".value")).to_be_visible()
        look("record")
        page.get_by_role("button", name="Change when it expires").click()
        look("expiry")
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Edit").click()
        client.store("looks/json", "[]")
        expect(page.get_by_role("alert")).to_contain_text("meanwhile")
        look("editor")
        page.get_by_role("button", name="Load theirs").click()
        page.get_by_role("button", name="Delete").click()
        look("question")
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.locator("#messages")).to_contain_text("Deleted")
        look("message")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        look("shortcuts")


def test_what_has_the_focus_is_seen_to_have_it(browser: Browser, http_store: Served, client: Client) -> None:
    client.store("focus", "x")
    with opened(browser, http_store.url) as console:
        page = console.open("#key=focus")
        expect(page.locator(".value")).to_be_visible()
        seen: list[str] = []
        while True:
            page.keyboard.press("Tab")
            outline = page.evaluate(
                "(e => [e.tagName, e.id || e.textContent, getComputedStyle(e).outlineStyle])(document.activeElement)"
            )
            if outline[0] == "BODY" or outline[1] in seen:
                break
            seen.append(outline[1])
            assert outline[2] != "none", outline
        assert {"prefix", "new", "help", "store-toggle", "Edit", "Delete"} <= set(seen)
