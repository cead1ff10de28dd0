"""The console in a real browser: browsing by prefix, by mouse and by keyboard alone."""

from __future__ import annotations

import re
from urllib.parse import quote

from tests.browser.console import Client, Console, browser, client, console, eventually, expect, http_store, pytestmark

__all__ = ["browser", "client", "console", "http_store", "pytestmark"]


def test_keys_are_browsed_through_folders_and_the_url_says_where_one_is(console: Console, client: Client) -> None:
    for key in ("browse/a.txt", "browse/sub/b.txt", "browse/sub/deep/c.txt", "browse/z.txt"):
        client.store(key, key)
    page = console.open()
    console.row("browse/").click()
    console.shows("browse/a.txt", "browse/sub/", "browse/z.txt")
    assert console.row("browse/a.txt").locator(".name").inner_text() == "a.txt"
    console.row("browse/sub/").click()
    expect(console.row("browse/sub/deep/")).to_be_visible()
    expect(page.locator("#prefix")).to_have_value("browse/sub/")
    assert page.locator("#crumbs a").all_inner_texts() == ["All keys", "browse/", "sub/"]
    page.locator("#crumbs a", has_text="browse/").click()
    expect(console.row("browse/z.txt")).to_be_visible()
    console.row("browse/z.txt").click()
    expect(page.locator(".value")).to_have_text("browse/z.txt")
    expect(console.row("browse/z.txt")).to_have_attribute("aria-current", "true")
    page.go_back()
    expect(page.locator(".value")).to_have_count(0)
    page.go_back()
    expect(console.row("browse/sub/deep/")).to_be_visible()
    page.go_forward()
    page.go_forward()
    expect(page.locator(".value")).to_have_text("browse/z.txt")
    page.reload()
    expect(page.locator(".value")).to_have_text("browse/z.txt")


def test_a_prefix_is_typed_and_the_list_follows(console: Console, client: Client) -> None:
    for key in ("typed/apple", "typed/apricot", "typed/banana"):
        client.store(key, "x")
    page = console.open()
    page.locator("#prefix").fill("typed/ap")
    console.shows("typed/apple", "typed/apricot")
    assert page.url.endswith("#prefix=typed%2Fap")
    page.locator("#prefix").fill("typed/nothing")
    expect(page.locator("#list-note")).to_have_text("No key begins with typed/nothing")


def test_a_page_has_no_more_than_200_rows_and_more_is_the_next_one(console: Console, client: Client) -> None:
    operations = [{"op": "put", "key": f"pages/{number:04}", "value": "x"} for number in range(430)]
    assert client.post("/v1/batch", json={"operations": operations}).status_code == 200
    page = console.open("#prefix=pages/")
    expect(page.locator("#rows a")).to_have_count(200)
    more, before = page.get_by_role("button", name="More"), page.get_by_role("button", name="Previous page")
    more.click()
    expect(console.row("pages/0399")).to_be_visible()
    assert len(console.names()) == 200
    more.click()
    expect(page.locator("#rows a")).to_have_count(30)
    expect(more).to_be_disabled()
    before.click()
    expect(console.row("pages/0200")).to_be_visible()


def test_rows_are_in_the_order_of_their_bytes_also_beyond_the_first_plane(console: Console, client: Client) -> None:
    inner = ["A", "a", "ä", "\ufffd", "\U0001f600"]
    for name in inner:
        client.store(f"order/{name}", "x")
        client.store(f"order/{name}/below", "x")
    page = console.open("#prefix=order/")
    expect(page.locator("#rows a")).to_have_count(10)
    assert console.names() == sorted(console.names(), key=lambda name: name.encode())


def test_any_key_can_be_opened_by_its_link(console: Console, client: Client) -> None:
    odd = [
        "..",
        ".",
        "/",
        "//a//",
        "a?b#c&d=e+f %41",
        " spaces ",
        "\u202eright\u200bto left",
        "ключ/日本語/🎉",
        "new\nline\ttab",
    ]
    for key in odd:
        client.store(key, f"value of {key}")
    page = console.open()
    for key in odd:
        page.goto(f"{console.url}/console#key={quote(key, safe='')}")
        expect(page.locator(".value")).to_have_text(f"value of {key}", use_inner_text=False)
        expect(page.locator("#rows a[aria-current]")).to_have_attribute("data-name", key)
    shown = page.locator("h2.key").inner_text()
    assert shown == "new⟨U+000A⟩line⟨U+0009⟩tab"
    for key in odd:
        client.delete("/v1/kv", params={"key": key})


def test_everything_can_be_done_by_keyboard(console: Console, client: Client) -> None:
    for key in ("keyboard/a", "keyboard/b", "keyboard/sub/c"):
        client.store(key, f"value of {key}")
    page = console.open()
    press = page.keyboard.press
    press("/")
    page.keyboard.type("keyboard/")
    console.shows("keyboard/a", "keyboard/b", "keyboard/sub/")
    press("ArrowDown")
    assert console.focused() == "keyboard/a"
    press("ArrowDown")
    press("ArrowDown")
    assert console.focused() == "keyboard/sub/"
    press("ArrowRight")
    expect(console.row("keyboard/sub/c")).to_be_focused()
    press("Backspace")
    expect(console.row("keyboard/sub/")).to_be_focused()
    press("ArrowUp")
    press("Enter")
    expect(page.locator("h2")).to_be_focused()
    expect(page.locator(".value")).to_have_text("value of keyboard/b")
    press("e")
    expect(page.locator("textarea")).to_be_focused()
    press("Control+A")
    page.keyboard.type("typed, with / and n and ?")
    press("Control+Enter")
    expect(page.locator(".value")).to_have_text("typed, with / and n and ?")
    assert client.read("keyboard/b").text == "typed, with / and n and ?"
    press("Delete")
    expect(page.get_by_role("dialog")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert client.read("keyboard/b").status_code == 200
    press("Delete")
    press("Enter")
    expect(console.row("keyboard/b")).to_have_count(0)
    assert client.read("keyboard/b").status_code == 404
    press("n")
    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    page.keyboard.type("new")
    press("Tab")
    page.keyboard.type("made")
    press("Control+Enter")
    expect(page.locator(".value")).to_have_text("made")
    assert client.read("keyboard/new").text == "made"
    press("Escape")
    expect(console.row("keyboard/new")).to_be_focused()
    press("?")
    expect(page.get_by_role("dialog")).to_contain_text("up a folder")
    press("Escape")
    press("b")
    expect(page.locator("#buckets tbody tr")).to_have_count(2)


def test_a_store_that_can_not_be_reached_is_said_and_come_back_to(console: Console, client: Client) -> None:
    client.store("lost/a", "x")
    page = console.open()
    page.route(re.compile("/v1/|/topology"), lambda route: route.abort())
    page.locator("#prefix").fill("lost/")
    expect(page.locator("#list-note")).to_have_text("The store can't be reached. Trying again.")
    expect(page.locator("#live")).to_have_text("Reconnecting…")
    expect(page.locator("#store-summary")).to_have_text("The store can't be reached.")
    page.unroute_all()
    expect(console.row("lost/a")).to_be_visible()
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#store-summary")).to_contain_text("2 buckets")


def test_a_problem_of_the_store_is_shown_in_its_own_words(console: Console) -> None:
    page = console.open()
    page.locator("#prefix").fill("x" * 1025)
    expect(page.locator("#list-note")).to_contain_text("have at most 1,024 bytes")
    eventually(lambda: page.locator("#live").inner_text() == "Not live", page)
