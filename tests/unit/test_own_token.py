"""CLOUD_STORAGE_TOKEN: the token that the store's commands show, and what they say where it does not do."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from serve_app.cli import run as run_module
from serve_app.cli.status import Store, status
from serve_app.command_output.failure import Failure
from serve_app.command_output.token import VARIABLE
from tests.unit.test_status_command import nothing, topology

PROBLEM = {"type": "urn:cloud-storage:forbidden", "title": "t", "detail": "the token 'a' lacks the scope 'admin'"}


class Answering:
    """A store that answers the same to everything, and notes what it was shown."""

    def __init__(self, code: int, body: Any) -> None:
        self.code, self.body = code, body
        self.shown: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.shown.append(request.headers.get("authorization"))
        media_type = "application/json" if self.code == 200 else "application/problem+json"
        return httpx.Response(self.code, json=self.body, headers={"content-type": media_type})


@pytest.fixture(autouse=True)
def _none_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def ask_status(answering: Answering) -> None:
    Store("http://store", httpx.MockTransport(answering)).topology()


def test_the_token_of_the_environment_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    answering = Answering(200, topology())
    ask_status(answering)
    monkeypatch.setenv(VARIABLE, " cs_mine\n")
    ask_status(answering)
    assert answering.shown == [None, "Bearer cs_mine"]


@pytest.mark.parametrize("code", [401, 403])
def test_where_the_store_wants_one_it_is_said_which(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        Failure, match=rf"wants a token with the scope .*admin, and {VARIABLE} is not set .*token create"
    ):
        ask_status(Answering(code, PROBLEM))
    monkeypatch.setenv(VARIABLE, "cs_mine")
    with pytest.raises(Failure, match="refuses the token of CLOUD_STORAGE_TOKEN: the token 'a' lacks") as refused:
        ask_status(Answering(code, PROBLEM))
    assert "cs_mine" not in str(refused.value)


@pytest.mark.parametrize("wrong", ["a b", "a\nb", "schlüssel", "x" * 600])
def test_what_can_not_be_a_token_is_said_and_not_repeated(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, wrong)
    with pytest.raises(Failure, match="CLOUD_STORAGE_TOKEN is no token") as refused:
        ask_status(Answering(200, topology()))
    assert wrong not in str(refused.value)


def test_a_401_of_something_else_is_not_taken_for_the_stores() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(401, text="log in"))
    with pytest.raises(Failure, match="something answers 401 at http://store, and it is not the store"):
        status("http://store", follow=False, transport=transport)


class _Child:
    def poll(self) -> None:
        return None


@pytest.mark.parametrize("token", ["", "cs_mine"])
def test_a_start_whose_buckets_may_not_be_looked_at_is_up_when_health_says_so(
    token: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, token)
    log = tmp_path / "serve.log"
    log.touch()
    healthy = iter([503, 503, 200])
    shown = []

    def answer(request: httpx.Request) -> httpx.Response:
        shown.append(request.headers.get("authorization"))
        if request.url.path == "/topology":
            return httpx.Response(401, json=PROBLEM)
        code = next(healthy)
        return httpx.Response(code, json={"bucket_count": 7} if code == 200 else PROBLEM)

    client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **options: client(transport=httpx.MockTransport(answer), **options))
    assert run_module._wait_until_up(_Child(), "http://store", log) == 7  # type: ignore[arg-type]
    warned = capsys.readouterr().err
    assert warned.count("warning: the buckets were not looked at: the store ") == 1
    assert set(shown) == ({f"Bearer {token}"} if token else {None})


def test_following_a_move_ends_where_the_token_is_taken_away() -> None:
    """There is nothing to wait for, as there is where the store does not answer."""
    answers = [topology(after=3), None, PROBLEM]

    def handle(request: httpx.Request) -> httpx.Response:
        answer = answers.pop(0)
        if answer is None:
            return nothing()
        return httpx.Response(200 if answer is not PROBLEM else 401, json=answer)

    with pytest.raises(Failure, match="wants a token"):
        status("http://store", follow=True, transport=httpx.MockTransport(handle), sleep=lambda _: None)
    assert answers == []
