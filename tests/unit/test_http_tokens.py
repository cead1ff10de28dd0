"""What the API answers with tokens on: who may do what, how a token is sent, and what wrong ones cost."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app import seldom
from serve_app.auth import tokens as tokens_module
from serve_app.auth.gate import Gate
from serve_app.auth.secret import digest_of
from serve_app.auth.tokens import Tokens
from serve_app.http.front import Front
from serve_app.topology import first_topology
from tests.support.asgi_client import ask, request
from tests.support.fake_directory import FakeDirectory, http_on
from tests.support.problem import Answered, check_problem

CHALLENGE = 'Bearer realm="cloud-storage"'
WRONG_TOKEN = f'{CHALLENGE}, error="invalid_token"'


def line(name: str, scopes: str, prefix: str = "") -> str:
    return f"{name} {scopes} {prefix} sha256:{digest_of(b'cs_' + name.encode()).hex()}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(
        line("reader", "read")
        + line("writer", "write")
        + line("admin", "admin")
        + line("team", "read,write", "prefix=team/%C3%A9")
    )
    return path


@pytest.fixture
def directory() -> FakeDirectory:
    made = FakeDirectory()
    made.records = {b"k": (b"v", "text/plain"), "team/é1".encode(): (b"v", "text/plain")}
    return made


@pytest.fixture
def app(file: Path, directory: FakeDirectory) -> Front:
    return http_on(directory, gate=Gate(Tokens(file)))


def bearer(name: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer cs_" + name.encode())]


READS = [("GET", b"/get/%s"), ("GET", b"/get?key=%s"), ("HEAD", b"/get/%s"), ("HEAD", b"/get?key=%s")]
WRITES = [("PUT", b"/put?key=%s&value=x"), ("DELETE", b"/delete/%s"), ("DELETE", b"/delete?key=%s")]


def check_refusal(answer: Answered, method: str, status: int) -> str:
    """The detail; empty of an answer to HEAD."""
    if method == "HEAD":
        assert (answer.status, answer.body) == (status, b"")
        return ""
    return check_problem(answer, status)


# -- who may do what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "target"), READS + WRITES)
def test_without_a_token_no_key_is_touched(app: Front, directory: FakeDirectory, method: str, target: bytes) -> None:
    before = dict(directory.records)
    answer = request(app, method, target % b"k")
    check_refusal(answer, method, 401)
    assert answer.headers["www-authenticate"] == CHALLENGE
    assert directory.records == before


@pytest.mark.parametrize(("method", "target"), READS + WRITES)
def test_an_unknown_token_is_as_good_as_none(app: Front, directory: FakeDirectory, method: str, target: bytes) -> None:
    before = dict(directory.records)
    answer = request(app, method, target % b"k", headers=bearer("nobody"))
    check_refusal(answer, method, 401)
    assert answer.headers["www-authenticate"] == WRONG_TOKEN
    assert directory.records == before


@pytest.mark.parametrize(("method", "target"), READS)
def test_to_read_takes_the_scope_read(app: Front, method: str, target: bytes) -> None:
    assert request(app, method, target % b"k", headers=bearer("reader")).status == 200
    for name in ("writer", "admin"):
        answer = request(app, method, target % b"k", headers=bearer(name))
        detail = check_refusal(answer, method, 403)
        assert answer.headers["www-authenticate"] == f'{CHALLENGE}, error="insufficient_scope"'
        assert method == "HEAD" or detail == f"the token {name!r} lacks the scope 'read'"


@pytest.mark.parametrize(("method", "target"), WRITES)
def test_to_write_takes_the_scope_write(app: Front, directory: FakeDirectory, method: str, target: bytes) -> None:
    before = dict(directory.records)
    for name in ("reader", "admin"):
        answer = request(app, method, target % b"k", headers=bearer(name))
        assert check_problem(answer, 403) == f"the token {name!r} lacks the scope 'write'"
    assert directory.records == before
    assert request(app, method, target % b"k", headers=bearer("writer")).status == 200
    assert directory.records != before


@pytest.mark.parametrize(("method", "target"), READS + WRITES)
def test_a_token_with_a_prefix_gets_at_no_other_keys(
    app: Front, directory: FakeDirectory, method: str, target: bytes
) -> None:
    before = dict(directory.records)
    for key in (b"k", b"team/", b"team/%C3%AA"):
        answer = request(app, method, target % key, headers=bearer("team"))
        detail = check_refusal(answer, method, 403)
        assert method == "HEAD" or detail == "the token 'team' is for keys that begin with 'team/é' alone"
    assert directory.records == before
    for key in (b"team/%C3%A91", b"%74eam%2F%C3%A91"):
        directory.records["team/é1".encode()] = (b"v", "text/plain")
        assert request(app, method, target % key, headers=bearer("team")).status == 200


def test_whether_a_key_is_there_is_not_told_to_who_may_not_read_it(app: Front) -> None:
    for name in ("writer", "team"):
        there, missing = (request(app, "GET", b"/get/" + key, headers=bearer(name)) for key in (b"k", b"no-such-key"))
        assert there == missing


@pytest.mark.parametrize(("method", "target"), [("PUT", b"/put?x=1"), ("GET", b"/get"), ("DELETE", b"/delete?key=")])
def test_who_may_do_nothing_is_not_told_what_else_is_wrong(app: Front, method: str, target: bytes) -> None:
    check_problem(request(app, method, target), 401)
    check_problem(request(app, method, target, headers=bearer("admin")), 403)
    name = "reader" if method == "GET" else "writer"
    check_problem(request(app, method, target, headers=bearer(name)), 422)


def test_the_body_of_who_may_not_put_is_not_waited_for(app: Front) -> None:
    async def put(name: str) -> Answered:
        sent: list[Any] = []

        async def receive() -> Any:
            raise AssertionError("nothing of the body is to be asked for")

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-length", b"1000"), *bearer(name)]
        await app(
            {
                "type": "http",
                "method": "PUT",
                "raw_path": b"/put",
                "query_string": b"key=k",
                "headers": headers,
            },
            receive,
            send,
        )
        return Answered(sent[0]["status"], {}, b"")

    assert asyncio.run(put("reader")).status == 403
    assert asyncio.run(put("nobody")).status == 401
    assert asyncio.run(put("team")).status == 403, "by its prefix"


@pytest.mark.parametrize("name", [None, "nobody", "reader", "writer", "team"])
def test_the_topology_takes_the_scope_admin(app: Front, name: str | None) -> None:
    answer = request(app, "GET", b"/topology", headers=bearer(name) if name else ())
    check_problem(answer, 403 if name in ("reader", "writer", "team") else 401)
    assert "www-authenticate" in answer.headers


@pytest.mark.parametrize("headers", [[], bearer("nobody"), bearer("reader"), [(b"authorization", b"Basic eDp5")]])
def test_probes_and_the_docs_page_need_no_token(
    app: Front, directory: FakeDirectory, headers: list[tuple[bytes, bytes]]
) -> None:
    directory.view.topology = first_topology(("a", "b"))
    for target in (b"/health", b"/docs", b"/docs/assets/swagger-ui.css", b"/openapi.json"):
        assert request(app, "GET", target, headers=headers).status == 200, target
    assert request(app, "GET", b"/", headers=headers).status == 307


def test_without_tokens_nothing_is_asked_for(directory: FakeDirectory) -> None:
    app = http_on(directory)
    for headers in ([], bearer("nobody"), [(b"authorization", b"Basic eDp5")]):
        assert request(app, "GET", b"/get/k", headers=headers).status == 200


# -- how a token is sent ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer cs_reader"),
        (b"authorization", b"bearer cs_reader"),
        (b"authorization", b"BEARER   cs_reader"),
        (b"x-cloud-storage-token", b"cs_reader"),
    ],
)
def test_ways_to_send_a_token(app: Front, header: tuple[bytes, bytes]) -> None:
    assert request(app, "GET", b"/get/k", headers=[(b"accept", b"*/*"), header]).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"cs_reader")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearercs_reader")],
        [(b"authorization", b"Bearer cs_reader,")],
        [(b"authorization", b"Bearer cs_reader cs_reader")],
        [(b"authorization", b"Basic cs_reader")],
        [(b"authorization", b"Bearer \xffcs_reader")],
        [(b"authorization", b"Bearer " + b"x" * 100_000)],
        [(b"x-cloud-storage-token", b"Bearer cs_reader")],
        [(b"x-cloud-storage-token", b"")],
        [*bearer("reader"), *bearer("reader")],
        [*bearer("reader"), (b"x-cloud-storage-token", b"cs_reader")],
        [(b"authorization", b""), *bearer("reader")],
    ],
)
def test_what_can_be_understood_in_two_ways_or_in_none_is_refused(
    app: Front, headers: list[tuple[bytes, bytes]]
) -> None:
    answer = request(app, "GET", b"/get/k", headers=headers)
    assert "send one header" in check_problem(answer, 401)
    assert answer.headers["www-authenticate"] == WRONG_TOKEN


def test_a_token_is_taken_from_no_url(app: Front) -> None:
    assert request(app, "GET", b"/get?key=k&access_token=cs_reader").status == 401


# -- when tokens change ----------------------------------------------------------------------------------------------


def test_a_start_without_a_good_file_lets_nobody_in(tmp_path: Path, directory: FakeDirectory) -> None:
    directory.view.topology = first_topology(("a", "b"))
    for text in (None, "nonsense"):
        path = tmp_path / "tokens"
        if text:
            path.write_text(text)
        app = http_on(directory, gate=Gate(Tokens(path)))
        for method, target in [*READS, *WRITES, ("GET", b"/topology")]:
            for headers in ([], bearer("reader")):
                answer = request(app, method, target.replace(b"%s", b"k"), headers=headers)
                detail = check_refusal(answer, method, 503)
                assert str(path) not in detail
                assert answer.headers["retry-after"] == "5"
        assert request(app, "GET", b"/health").status == 200
    assert directory.records.keys() >= {b"k"}


def test_a_running_store_follows_its_file(
    file: Path, directory: FakeDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the start of the application to its end."""
    monkeypatch.setattr(tokens_module, "LOOK_AGAIN_S", 0.01)
    app = http_on(directory, gate=Gate(Tokens(file)))

    async def follow() -> None:
        to_app: asyncio.Queue[Any] = asyncio.Queue()
        from_app: asyncio.Queue[Any] = asyncio.Queue()
        living = asyncio.create_task(app({"type": "lifespan", "state": {}}, to_app.get, from_app.put))
        await to_app.put({"type": "lifespan.startup"})
        assert (await from_app.get())["type"] == "lifespan.startup.complete"
        assert (await ask(app, "GET", b"/get/k", headers=bearer("reader"))).status == 200
        await asyncio.to_thread(file.write_text, line("other", "read"))
        while (await ask(app, "GET", b"/get/k", headers=bearer("reader"))).status == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await ask(app, "GET", b"/get/k", headers=bearer("other"))).status == 200
        await to_app.put({"type": "lifespan.shutdown"})
        assert (await from_app.get())["type"] == "lifespan.shutdown.complete"
        await living
        assert {task for task in asyncio.all_tasks() if task.get_name() == "tokens"} == set()

    asyncio.run(asyncio.wait_for(follow(), 60))


def test_what_is_wrong_with_the_file_is_shown_with_the_topology(
    file: Path, directory: FakeDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refresh() -> None:
        """Nobody to ask."""

    monkeypatch.setattr(directory, "polling", SimpleNamespace(refresh=refresh), raising=False)
    monkeypatch.setattr(directory, "configuration", SimpleNamespace(bucket_count=2, problem="too few"), raising=False)
    directory.view.topology = SimpleNamespace(
        phase="stable", identities=(), epoch=1, bucket_count=2, target_count=2, moving=False
    )
    tokens = Tokens(file)
    app = http_on(directory, gate=Gate(tokens))
    assert request(app, "GET", b"/topology", headers=bearer("admin")).json()["problem"] == "too few"
    file.unlink()
    tokens.look_again()
    problem = request(app, "GET", b"/topology", headers=bearer("admin")).json()["problem"]
    assert problem.startswith(f"too few; the tokens file {file} can't be read")


# -- what wrong ones cost --------------------------------------------------------------------------------------------


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("serve_app"), "propagate", True)
    caplog.set_level("WARNING", "serve_app")
    return caplog


@pytest.fixture
def long_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seldom, "INTERVAL_S", 1000.0)


@pytest.mark.usefixtures("long_interval")
def test_a_thousand_wrong_tokens_are_one_line_now_and_one_later(app: Front, warned: pytest.LogCaptureFixture) -> None:
    async def knock() -> None:
        for number in range(1000):
            await ask(app, "GET", b"/get/k", headers=bearer(f"wrong{number}"))

    asyncio.run(knock())
    assert [record.getMessage() for record in warned.records] == ["token refused"]


@pytest.mark.usefixtures("long_interval")
def test_no_log_and_no_answer_holds_what_was_presented(file: Path, warned: pytest.LogCaptureFixture) -> None:
    for headers in (bearer("almost-a-token"), [(b"authorization", b"cs_almost-a-token")]):
        answer = request(http_on(FakeDirectory(), gate=Gate(Tokens(file))), "GET", b"/get/k", headers=headers)
        assert b"almost" not in answer.body
        assert not any("almost" in value for value in answer.headers.values())
    assert len(warned.records) == 2
    for record in warned.records:
        assert "almost" not in str(record.__dict__)


def test_a_request_without_a_token_is_no_line(app: Front, warned: pytest.LogCaptureFixture) -> None:
    request(app, "GET", b"/get/k")
    assert warned.records == []


# -- what the document says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [True, False])
def test_the_docs_page_can_authorize(app: Front, directory: FakeDirectory, wanted: bool) -> None:
    """The button is there where the document has a scheme; a request gets the token where the operation names it."""
    document = request(app if wanted else http_on(directory), "GET", b"/openapi.json").json()
    scheme = document["components"]["securitySchemes"]["token"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for methods in document["paths"].values():
        for operation in methods.values():
            if operation["operationId"] == "health":
                assert "security" not in operation
                continue
            assert operation["security"] == ([{"token": []}] if wanted else [{"token": []}, {}])
            assert {"401", "403"} <= set(operation["responses"])
            assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]


def test_the_description_explains_401_and_403(app: Front) -> None:
    described = request(app, "GET", b"/openapi.json").json()["info"]["description"]
    assert re.search(r"\| 401, 403 \|.*Authorization: Bearer", described)
