"""What the OpenAPI document gives as examples works as it stands: people copy it, and the docs page sends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from harness.running_store import RunningStore

pytestmark = pytest.mark.ray


@pytest.fixture
def client(store: RunningStore) -> Iterator[httpx.Client]:
    with store.client() as client:
        yield client
        for key in ("hello", "visits"):
            client.delete(f"/v1/kv/{key}")


def requests_of(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each operation with all its examples, once for each example of a body: method, path, and what else is sent."""
    for template, methods in document["paths"].items():
        for method, operation in methods.items():
            path = template
            sent: dict[str, Any] = {"params": {}, "headers": {}}
            for parameter in operation.get("parameters", []):
                example = parameter.get("example")
                assert example is not None or not parameter["required"], f"{method} {template}: {parameter['name']}"
                if example is None:
                    continue
                if parameter["in"] == "path":
                    path = path.replace("{" + parameter["name"] + "}", str(example))
                else:
                    place = {"query": "params", "header": "headers"}[parameter["in"]]
                    sent[place][parameter["name"]] = str(example)
            body = operation.get("requestBody", {"content": {}})
            bodies = [(kind, each["example"]) for kind, each in body["content"].items() if "example" in each]
            assert bodies or not body.get("required"), f"{method} {template} needs a body and gives none"
            if not bodies:
                yield method.upper(), path, sent
            for kind, example in bodies:
                content = example if isinstance(example, str) else json.dumps(example)
                headers = sent["headers"] | {"Content-Type": kind}
                yield method.upper(), path, sent | {"headers": headers, "content": content.encode()}


def test_every_example_is_answered_as_a_success(client: httpx.Client) -> None:
    answered: dict[str, list[int]] = {}
    document = client.get("/openapi.json").json()
    for method, path, sent in requests_of(document):
        if method != "PUT":
            assert client.put("/v1/kv/hello", content=b"world", headers={"Content-Type": "text/plain"}).is_success
        with client.stream(method, path, **sent) as answer:  # one of them never ends
            assert answer.is_success, f"{method} {path} {sent}: {answer.status_code} {answer.read()!r}"
        answered.setdefault(f"{method} {path}", []).append(answer.status_code)
    assert len(answered) == sum(len(methods) for methods in document["paths"].values())
