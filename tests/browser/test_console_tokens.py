"""The console on a store that wants tokens: it asks for one, keeps it in memory alone, and works within what it allows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from serve_app.auth.gate import Gate
from serve_app.auth.secret import digest_of
from serve_app.auth.tokens import Tokens
from tests.browser.console import Client, Console, browser, console, expect, opened, pytestmark
from tests.client.served import Served

__all__ = ["browser", "console", "pytestmark"]

TOKENS = {"all": "read,write,admin", "reader": "read", "team": "read,write"}
KEPT = """async () => [
    localStorage.length, sessionStorage.length, document.cookie, (await indexedDB.databases()).length,
    (await caches.keys()).length, window.name, JSON.stringify(history.state),
]"""


@pytest.fixture(scope="module")
def http_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A store with tokens, of which each is its name behind `secret-`."""
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.write_text(
        "".join(
            f"{name} {scopes} {'prefix=team/' if name == 'team' else ''} sha256:{digest_of(secret(name).encode()).hex()}\n"
            for name, scopes in TOKENS.items()
        )
    )
    store = Served(gate=Gate(Tokens(file)))
    store.start()
    with Client(base_url=store.url, headers={"authorization": f"Bearer {secret('all')}"}) as client:
        client.store("team/a", "of the team")
        client.store("other", "of others")
    yield store
    store.stop()


def secret(name: str) -> str:
    return f"secret-{name}"


def use(page: Page, name: str) -> None:
    page.get_by_label("Token", exact=True).last.fill(secret(name))
    page.get_by_role("button", name="Use it").click()


def test_a_token_is_asked_for_and_kept_in_memory_alone(console: Console, browser: Browser) -> None:
    page = console.open(live=False)
    field = page.locator("#token-field")
    expect(field).to_be_focused()
    assert field.get_attribute("type") == "password"
    assert field.get_attribute("autocomplete") == "off"
    expect(page.locator("#token-reason")).to_contain_text("This store wants a token")
    use(page, "all")
    expect(console.row("team/")).to_be_visible()
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#store-summary")).to_contain_text("2 records")
    console.row("other").click()
    expect(page.locator(".value")).to_have_text("of others")
    assert page.evaluate(KEPT) == [0, 0, "", 0, 0, "", "null"]
    assert page.context.cookies() == []
    assert page.context.storage_state() == {"cookies": [], "origins": []}
    assert field.input_value() == ""
    assert secret("all") not in page.url + page.content() + "".join(console.requests)
    page.reload()
    expect(page.locator("#token")).to_be_visible()
    expect(page.locator("#rows a")).to_have_count(0)


def test_a_wrong_token_is_told_and_another_one_taken(console: Console) -> None:
    page = console.open(live=False)
    use(page, "nobody")
    expect(page.locator("#token-reason")).to_contain_text("is not one of this store's")
    use(page, "all")
    expect(console.row("other")).to_be_visible()
    expect(page.locator("#token")).to_be_hidden()


def test_a_forgotten_token_is_asked_for_again(console: Console) -> None:
    page = console.open(live=False)
    use(page, "all")
    expect(console.row("other")).to_be_visible()
    page.get_by_role("button", name="Forget token").click()
    expect(page.locator("#token")).to_be_visible()
    expect(console.row("other")).to_have_count(0)


def test_without_admin_the_buckets_are_not_shown_and_the_rest_works(console: Console) -> None:
    page = console.open(live=False)
    use(page, "reader")
    expect(page.locator("#store-summary")).to_contain_text("lacks the scope 'admin'")
    console.row("other").click()
    expect(page.locator(".value")).to_have_text("of others")
    page.get_by_role("button", name="Edit").click()
    page.locator("textarea").fill("changed")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("lacks the scope 'write'")


def test_a_token_for_a_prefix_works_within_it(console: Console) -> None:
    page = console.open(live=False)
    use(page, "team")
    expect(page.locator("#list-note")).to_contain_text("for keys that begin with 'team/' alone")
    expect(page.locator("#list-note")).to_contain_text("Type the prefix")
    page.locator("#prefix").fill("team/")
    expect(console.row("team/a")).to_be_visible()
    expect(page.locator("#live")).to_have_text("Live")
    console.row("team/a").click()
    page.get_by_role("button", name="Edit").click()
    page.locator("textarea").fill("edited")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".value")).to_have_text("edited")


def test_a_page_in_another_context_knows_nothing_of_it(browser: Browser, http_store: Served) -> None:
    with opened(browser, http_store.url) as one, opened(browser, http_store.url) as other:
        use(one.open(live=False), "all")
        expect(one.row("other")).to_be_visible()
        expect(other.open(live=False).locator("#token")).to_be_visible()
