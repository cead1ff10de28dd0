"""Values in the console: how they are shown, changed and deleted, and that nothing of anybody's is overwritten unseen."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.console import Client, Console, browser, client, console, expect, http_store, pytestmark

__all__ = ["browser", "client", "console", "http_store", "pytestmark"]

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
#: Would ask for this, and say so in `window.hit`.
HTML = "<img src=/topology?evil onerror='window.hit=1'><script>window.hit=1</script><svg onload=window.hit=1>"


def facts(console: Console) -> dict[str, str]:
    names, values = (console.page.locator(f".facts {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def test_a_value_is_shown_with_its_metadata(console: Console, client: Client) -> None:
    etag = client.store("meta", "héllo", "text/plain; charset=utf-8", ttl=7200)
    page = console.open("#key=meta")
    expect(page.locator(".value")).to_have_text("héllo")
    shown = facts(console)
    assert (shown["Size"], shown["Type"]) == ("6 B", "text/plain; charset=utf-8")
    assert shown["Revision"] == etag.strip('"')
    assert shown["Bucket"] == f"bucket-{client.read('meta').headers['bucket']}"
    assert re.search(r"in (1 h 59 min|2 h)", shown["Expires"])
    assert page.locator(".facts time").first.get_attribute("datetime")


def test_json_is_laid_out_on_choice_without_changing_a_number(console: Console, client: Client) -> None:
    client.store("json", '{"big":12345678901234567890,"one":1.0,"a":[],"a":{"t":"x, {y} \\" :"}}', "application/json")
    page = console.open("#key=json")
    page.get_by_role("button", name="JSON").click()
    expect(page.locator(".value")).to_have_text(
        '{\n  "big": 12345678901234567890,\n  "one": 1.0,\n  "a": [],\n  "a": {\n    "t": "x, {y} \\" :"\n  }\n}',
        use_inner_text=True,
    )


def test_what_is_no_text_is_shown_in_hex_and_not_edited_in_place(console: Console, client: Client) -> None:
    client.store("bytes", bytes(range(256)) * 40, "application/octet-stream")
    page = console.open("#key=bytes")
    expect(page.locator(".value.hex")).to_contain_text("00000040  40 41 42 43")
    expect(page.locator(".value.hex")).to_contain_text("… 6.1 kB more")
    expect(page.get_by_role("button", name="Edit")).to_have_count(0)


@pytest.mark.parametrize("value", [b"a\r\nb", b"a\rb", b"nul \0 in it", b"\xff\xfe"])
def test_what_a_text_area_would_change_is_replaced_from_a_file_alone(
    console: Console, client: Client, tmp_path: Path, value: bytes
) -> None:
    client.store("exact", value)
    page = console.open("#key=exact")
    expect(page.get_by_text("It can't be edited here, but replaced from a file.")).to_be_visible()
    page.keyboard.press("e")
    expect(page.locator("textarea")).to_be_hidden()
    (tmp_path / "new.bin").write_bytes(b"other\r\n" + value)
    page.locator("input[type=file]").set_input_files(tmp_path / "new.bin")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#messages")).to_contain_text("Saved exact.")
    assert client.read("exact").content == b"other\r\n" + value


@pytest.mark.parametrize("text", ["", "\n", "\n\nlines\n\n", "\ufefftab\there \u2028 🎉", "<b>&amp;</b></textarea>"])
def test_saving_a_text_changes_what_is_typed_and_not_a_byte_more(console: Console, client: Client, text: str) -> None:
    client.store("bytewise", text, "text/x-odd; p=1")
    page = console.open("#key=bytewise")
    page.get_by_role("button", name="Edit").click()
    page.locator("textarea").press("Control+End")
    page.keyboard.type("!")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#messages")).to_contain_text("Saved bytewise.")
    found = client.read("bytewise")
    assert found.content == f"{text}!".encode()
    assert found.headers["content-type"] == "text/x-odd; p=1"


def test_an_image_is_shown_and_one_that_is_a_program_runs_nothing(console: Console, client: Client) -> None:
    client.store("pixel.png", PNG, "image/png")
    svg = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9' onload='parent.hit=1'><script>parent.hit=1</script>"
    client.store("logo.svg", f"{svg}<image href='{console.url}/topology?evil'/></svg>", "image/svg+xml")
    page = console.open()
    for key in ("pixel.png", "logo.svg"):
        console.row(key).click()
        expect(page.locator("h2.key")).to_have_text(key)
        page.wait_for_function("document.querySelector('.picture img')?.naturalWidth > 0")
        assert page.evaluate("window.hit") is None
    assert not [line for line in console.requests if "/topology?evil" in line]


def test_a_large_value_is_loaded_whole_when_it_is_asked_for(console: Console, client: Client) -> None:
    value = "ä line of a long text\n" * 60_000
    client.store("large", value)
    page = console.open()
    with page.expect_response(lambda answer: "/v1/kv" in answer.url) as response:
        console.row("large").click()
    assert response.value.status == 206
    expect(page.get_by_text(re.compile(r"The first 1.0 MB of 1.4 MB"))).to_be_visible()
    expect(page.get_by_role("button", name="Edit")).to_have_count(0)
    page.get_by_role("button", name="Load all of it").click()
    expect(page.get_by_role("button", name="Edit")).to_be_visible()
    assert page.evaluate("document.querySelector('.value').textContent") == value


def test_a_value_is_downloaded_as_it_is(console: Console, client: Client) -> None:
    client.store("down/../load me.bin", b"\0\r\n\xff")
    page = console.open("#key=down/../load me.bin")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "load me.bin"
    assert Path(download.value.path()).read_bytes() == b"\0\r\n\xff"


def saved_after_another(console: Console, client: Client, key: str, other: Any) -> None:
    """Save an edit, where another client has done something once it was begun, which the watch does not tell."""
    client.store(key, "mine to begin with")
    page = console.open(f"#key={key}")
    page.get_by_role("button", name="Edit").click()
    page.locator("textarea").fill("my edit")
    other()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("meanwhile.")


def test_an_edit_never_overwrites_what_another_wrote_unless_told_to(console: Console, client: Client) -> None:
    saved_after_another(console, client, "conflict", lambda: client.store("conflict", "theirs"))
    page = console.page
    expect(page.get_by_role("button", name="Overwrite theirs")).to_be_visible()
    assert client.read("conflict").text == "theirs"
    client.store("conflict", "theirs again")  # nor what came after the question was asked
    with page.expect_response(lambda answer: answer.status == 412):
        page.get_by_role("button", name="Overwrite theirs").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was saved.")
    assert client.read("conflict").text == "theirs again"
    page.get_by_role("button", name="Overwrite theirs").click()
    expect(page.locator(".value")).to_have_text("my edit")
    assert client.read("conflict").text == "my edit"


def test_who_wants_theirs_gets_it(console: Console, client: Client) -> None:
    saved_after_another(console, client, "theirs", lambda: client.store("theirs", "theirs"))
    console.page.get_by_role("button", name="Load theirs").click()
    expect(console.page.locator(".value")).to_have_text("theirs")


def test_a_key_that_was_deleted_meanwhile_is_made_anew_when_told_to(console: Console, client: Client) -> None:
    saved_after_another(console, client, "gone", lambda: client.delete("/v1/kv/gone"))
    assert client.read("gone").status_code == 404
    console.page.get_by_role("button", name="Create it anew").click()
    expect(console.page.locator(".value")).to_have_text("my edit")


def test_what_is_made_anew_takes_the_place_of_nothing_that_came_meanwhile(console: Console, client: Client) -> None:
    saved_after_another(console, client, "came", lambda: client.delete("/v1/kv/came"))
    client.store("came", "theirs")
    with console.page.expect_response(lambda answer: answer.status == 412):
        console.page.get_by_role("button", name="Create it anew").click()
    expect(console.page.get_by_role("alert")).to_contain_text("Nothing was saved.")
    assert client.read("came").text == "theirs"


def test_a_new_key_takes_no_others_place(console: Console, client: Client) -> None:
    client.store("taken", "theirs")
    page = console.open()
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Key", exact=True).fill("taken")
    page.locator("textarea").fill("mine")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("There is a key taken already.")
    assert client.read("taken").text == "theirs"
    page.get_by_role("button", name="Open it").click()
    expect(page.locator(".value")).to_have_text("theirs")


def test_a_save_whose_answer_was_lost_is_sent_again_and_happens_once(console: Console, client: Client) -> None:
    before = int(client.store("once", "before").strip('"'))
    page = console.open("#key=once")
    names: list[str] = []

    def lose_the_first(route: Any) -> None:
        if route.request.method != "PUT":
            route.fallback()
            return
        names.append(route.request.headers["idempotency-key"])
        if len(names) == 1:
            route.fetch()
            route.abort()
        else:
            route.fallback()

    page.route("**/v1/kv?*", lose_the_first)
    page.get_by_role("button", name="Edit").click()
    page.locator("textarea").fill("after")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#messages")).to_contain_text("Saved once.")
    assert len(names) == 2
    assert len(set(names)) == 1
    found = client.read("once")
    assert (found.text, found.headers["etag"]) == ("after", f'"{before + 1}"')


def test_what_was_typed_is_not_lost_by_leaving(console: Console, client: Client) -> None:
    client.store("typing", "x")
    client.store("elsewhere", "y")
    page = console.open("#key=typing")
    page.get_by_role("button", name="Edit").click()
    page.locator("textarea").fill("half a sentence")
    console.row("elsewhere").click()
    page.get_by_role("button", name="Go on editing").click()
    expect(page.locator("textarea")).to_have_value("half a sentence")
    expect(page).to_have_url(re.compile("key=typing$"))
    console.row("elsewhere").click()
    page.get_by_role("button", name="Throw it away").click()
    expect(page.locator(".value")).to_have_text("y")


def test_expiry_is_set_and_taken_away_and_an_edit_leaves_it(console: Console, client: Client) -> None:
    client.store("expiring", "x")
    page = console.open("#key=expiring")
    page.get_by_role("button", name="Change when it expires").click()
    page.get_by_label("Expires").select_option("after")
    page.get_by_label("How long").fill("2")
    page.get_by_label("Unit").select_option("hours")
    page.get_by_role("button", name="Set").click()
    expect(page.locator("[data-until]")).to_have_text(re.compile("in (1 h 59 min|2 h)"))
    expires = client.read("expiring").headers["expires-at"]
    page.get_by_role("button", name="Edit").click()
    page.locator("textarea").fill("edited")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".value")).to_have_text("edited")
    assert client.read("expiring").headers["expires-at"] == expires
    page.get_by_role("button", name="Change when it expires").click()
    page.get_by_role("button", name="Set").click()
    expect(page.locator("#expires-at")).to_contain_text("never")
    assert "expires-at" not in client.read("expiring").headers


def test_a_record_that_another_has_changed_is_not_deleted(console: Console, client: Client) -> None:
    client.store("deleting", "seen")
    page = console.open("#key=deleting")
    page.get_by_role("button", name="Delete").click()
    client.store("deleting", "not seen")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#messages")).to_contain_text("someone else has changed it meanwhile")
    expect(page.locator(".value")).to_have_text("not seen")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#messages")).to_contain_text("Deleted deleting.")
    assert client.read("deleting").status_code == 404


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "text/plain"])
def test_html_in_keys_and_values_is_text(console: Console, client: Client, content_type: str) -> None:
    keys = (HTML.replace("/", "|"), "javascript:window.hit=1")
    for key in (*keys, f"html/{HTML}"):
        client.store(key, HTML, content_type)
    page = console.open()
    for key in keys:
        console.row(key).click()
        expect(page.locator("h2.key")).to_have_text(key)
        text = page.get_by_role("button", name="Text")
        text.click()
        expect(page.locator(".value")).to_have_text(HTML)
        page.get_by_role("button", name="Edit").click()
        expect(page.locator("textarea")).to_have_value(HTML)
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("dialog")).to_contain_text(key)
        page.keyboard.press("Escape")
    page.locator("#prefix").fill(f"html/{HTML}/none")
    expect(page.locator("#list-note")).to_have_text(f"No key begins with html/{HTML}/none")
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script, main svg").count() == 0
    assert not [line for line in console.requests if "/topology?evil" in line]


def test_html_in_what_the_store_says_is_text(console: Console) -> None:
    problem = {"type": "urn:cloud-storage:invalid-request", "title": HTML, "status": 422, "detail": HTML}

    def refuse(route: Any) -> None:
        route.fulfill(status=422, body=json.dumps(problem), content_type="application/problem+json")

    console.page.route(re.compile("/v1/kv|/v1/keys|/topology"), refuse)
    page = console.open("#key=any", live=False)
    for place in ("#list-note", "#record", "#store-summary"):
        expect(page.locator(place)).to_contain_text(HTML)
    assert page.evaluate("window.hit") is None
    assert not [line for line in console.requests if "/topology?evil" in line]
