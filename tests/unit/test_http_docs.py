"""The docs page and the OpenAPI document, without a browser: nothing from elsewhere, and nothing left unsaid."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from serve_app.http.problems import Problem
from tests.support.asgi_client import request, scope_of
from tests.support.fake_directory import FakeDirectory, http_on


def openapi() -> dict[str, Any]:
    document: dict[str, Any] = request(http_on(FakeDirectory()), "GET", b"/openapi.json").json()
    return document


OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in openapi()["paths"].items()
    for method, operation in methods.items()
}
VALUES = {f"{method} /v1/kv{key}" for method in ("GET", "HEAD", "PUT", "DELETE") for key in ("", "/{key}")}
WRITES = {
    "PUT /put", "DELETE /delete/{key}", "DELETE /delete", "PUT /v1/kv", "PUT /v1/kv/{key}", "DELETE /v1/kv",
    "DELETE /v1/kv/{key}", "POST /v1/increment", "POST /v1/touch",
}  # fmt: skip
#: Those that need a record to be there.
OF_A_RECORD = {
    "GET /get/{key}", "GET /get", "HEAD /get/{key}", "HEAD /get", "DELETE /delete/{key}", "DELETE /delete",
    "POST /v1/touch", *(name for name in VALUES if not name.startswith("PUT")),
}  # fmt: skip


def test_all_that_the_page_loads_is_served_here() -> None:
    app = http_on(FakeDirectory())
    page = request(app, "GET", b"/docs")
    assert page.status == 200
    html = page.body.decode()
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", html)
    assert len(loaded) >= 3
    for path in loaded:
        assert path.startswith("/docs/assets/"), path
        assert request(app, "GET", path.encode()).status == 200, path
    assert not re.findall(r"https?://", html)


def test_below_a_prefix_the_page_loads_from_there() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = scope_of("GET", b"/store/docs", root_path="/store")
    asyncio.run(http_on(FakeDirectory())(scope, receive, send))
    html = b"".join(message.get("body", b"") for message in sent).decode()
    assert "/store/docs/assets/swagger-ui-bundle.js" in html
    assert "/store/openapi.json" in html


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/docs", "GET"), ("/", "GET"), ("/openapi.json", "GET, HEAD"), ("/docs/assets/swagger-ui.css", "GET, HEAD")],
)
@pytest.mark.parametrize("prefix", ["", "/store"])
def test_what_the_page_is_made_of_says_which_methods_it_takes(path: str, methods: str, prefix: str) -> None:
    """An empty Allow would say that there is none."""
    app = http_on(FakeDirectory())
    answer = request(app, "DELETE", (prefix + path).encode(), root_path=prefix)
    assert (answer.status, answer.headers["allow"]) == (405, methods)
    for method in methods.split(", "):
        assert request(app, method, (prefix + path).encode(), root_path=prefix).status in (200, 307), method


def test_the_document_has_all_routes() -> None:
    assert set(OPERATIONS) == {
        "PUT /put", "GET /get/{key}", "GET /get", "HEAD /get/{key}", "HEAD /get", "DELETE /delete/{key}", "DELETE /delete",
        "GET /health", "GET /topology", "POST /v1/increment", "POST /v1/touch", *VALUES,
    }  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_route_says_what_it_takes_and_answers(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    for parameter in operation.get("parameters", []):
        assert parameter["description"]
        # What the page fills in by itself: of what may be left out, only what does not narrow the request.
        assert parameter.get("example") or not parameter["required"], parameter["name"]
    answers = dict(operation["responses"])
    successes = {status: answers.pop(status) for status in list(answers) if status < "400"}
    assert successes
    for status, success in successes.items():
        assert success["description"] != "Successful Response"
        if "/v1/kv" in name:
            assert "ETag" in success["headers"]
            assert ("content" in success) == (name.startswith("GET") and status in ("200", "206")), "a value, as it is"
        elif not name.startswith("HEAD"):
            assert success["content"]["application/json"]["schema"]["$ref"]
    if name.startswith("HEAD"):
        assert not any("content" in answer for answer in (*successes.values(), *answers.values())), (
            "there are no bodies"
        )
        answers = {status: OPERATIONS[name.replace("HEAD", "GET")]["responses"][status] for status in answers}
    for status, answer in answers.items():
        (media_type,) = answer["content"]
        assert media_type == "application/problem+json", status
        assert answer["content"][media_type]["schema"]["$ref"].endswith("/Problem")
        example = Problem.model_validate(answer["content"][media_type]["example"])
        assert example.status == int(status)
        assert example.title == answer["description"]
    assert "Retry-After" in answers["503"]["headers"]
    assert "headers" not in answers.get("504", {})
    assert ("504" in answers) == (name in WRITES), "only of a write is the outcome unknown"
    assert ("404" in answers) == (name in OF_A_RECORD)
    asks_for_conditions = "If-Match" in {parameter["name"] for parameter in operation.get("parameters", [])}
    assert ("412" in answers) == asks_for_conditions
    assert asks_for_conditions or name not in VALUES


def test_every_answer_has_an_example_for_each_field() -> None:
    schemas = openapi()["components"]["schemas"]
    assert {"PutAnswer", "GetAnswer", "DeleteAnswer", "HealthAnswer", "TopologyAnswer", "Problem"} <= set(schemas)
    for name, schema in schemas.items():
        for field, content in schema["properties"].items():
            shown = content.get("examples") or content.get("enum") or "$ref" in str(content)
            assert shown, f"{name}.{field}"
