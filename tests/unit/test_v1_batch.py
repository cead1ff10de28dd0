"""`/v1/batch` over HTTP: each item is answered as its single request would be."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from serve_app.auth.access import OPEN, grant
from serve_app.http.uploads import Uploads
from serve_app.http.v1.batch import Batches
from serve_app.settings import Limits
from tests.support.asgi_client import request, scope_of
from tests.support.fake_directory import FakeDirectory, http_on
from tests.support.local_store import run_async
from tests.unit.test_v1_kv import Client

JSON = (b"content-type", b"application/json; charset=utf-8")
PACKED = (b"content-type", b"application/msgpack")


@pytest.fixture
def ask() -> Client:
    return Client()


def results(ask: Client, *operations: dict[str, Any]) -> list[dict[str, Any]]:
    answer = ask("POST", b"/v1/batch", JSON, body=msgspec.json.encode({"operations": operations}))
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def test_each_is_answered_as_it_would_be_alone(ask: Client) -> None:
    assert results(
        ask,
        {"op": "put", "key": "a", "value": "1", "ttl": 60},
        {"op": "put", "key": "a", "value": "2", "if_none_match": "*"},
        {"op": "put", "key": "a", "value": "2", "if_match": '"2"'},
        {"op": "get", "key": "a"},
        {"op": "get", "key": "a", "if_none_match": '"3"'},
        {"op": "increment", "key": "a", "by": 5},
        {"op": "touch", "key": "a", "expires_at": "2025-06-15T15:06:41Z"},
        {"op": "delete", "key": "a"},
        {"op": "delete", "key": "a"},
    ) == [
        {"status": 201, "revision": 2},
        {"status": 412, "type": "urn:cloud-storage:condition-failed", "revision": 2,
         "title": "The condition is not met; nothing changed",
         "detail": "the key 'a' does not meet the condition: it has revision 2"},
        {"status": 200, "revision": 3},
        {"status": 200, "revision": 3, "value": "2", "content_type": "text/plain; charset=utf-8",
         "modified": "2025-06-15T15:06:40.000Z", "expires": None},
        {"status": 304, "revision": 3},
        {"status": 200, "revision": 4, "value": 7},
        {"status": 200, "revision": 5, "expires": "2025-06-15T15:06:41.000Z"},
        {"status": 204, "revision": 6},
        {"status": 404, "type": "urn:cloud-storage:key-not-found", "title": "No such key",
         "detail": "no record has the key 'a'"},
    ]  # fmt: skip


def test_bytes_are_base64_in_json_and_themselves_in_msgpack(ask: Client) -> None:
    raw = bytes(range(256))
    told = base64.b64encode(raw).decode()
    put, got = results(ask, {"op": "put", "key": "b", "value_base64": told}, {"op": "get", "key": "b"})
    assert (put["status"], got["value_base64"], "value" in got) == (201, told, False)
    assert got["content_type"] == "application/octet-stream"
    body = msgspec.msgpack.encode(
        {"operations": [{"op": "put", "key": "c", "value": raw}, {"op": "put", "key": "d", "value": "text"},
                        {"op": "get", "key": "c"}, {"op": "get", "key": "d"}]}
    )  # fmt: skip
    answer = ask("POST", b"/v1/batch", PACKED, body=body)
    assert answer.headers["content-type"] == "application/msgpack"
    found = msgspec.msgpack.decode(answer.body)["results"]
    assert [each.get("value") for each in found] == [None, None, raw, b"text"]
    assert found[3]["content_type"] == "text/plain; charset=utf-8"


def test_what_is_wrong_with_one_costs_the_others_nothing(ask: Client) -> None:
    found = results(
        ask,
        {"op": "put", "key": "a", "value": "1"},
        {"op": "drop", "key": "a"},
        {"op": "put", "key": "", "value": "1"},
        {"op": "put", "key": "k" * 1025, "value": "1"},
        {"op": "put", "key": "a"},
        {"op": "put", "key": "a", "value": "1", "value_base64": "MQ=="},
        {"op": "put", "key": "a", "value": "1", "ttl": -1},
        {"op": "put", "key": "a", "value": "1", "content_type": "a\nb"},
        {"op": "put", "key": "a", "value": "1", "if_match": "7"},
        {"op": "put", "key": "a", "value": "1", "if_match": ""},
        {"op": "delete", "key": "a", "if_none_match": ""},
        {"op": "put", "key": "a", "value": "1", "idempotency_key": "a b"},
        {"op": "put", "key": "a", "value": "1", "idempotency_key": ""},
        {"op": "put", "key": "a", "value": "1", "idempotency_ttl": 5},
        *(
            {"op": "put", "key": "a", "value": "1", "idempotency_key": "a", "idempotency_ttl": ttl}
            for ttl in (0, -1, 600.1, 1e300)
        ),
        {"op": "touch", "key": "a"},
        {"op": "increment", "key": "n", "by": 2**63},
        {"op": "get", "key": "a"},
    )
    assert [each["status"] for each in found] == [201, *[422] * 19, 200]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"operations": []}', b'{"operations": [{"op": "get"}]}', b'{"operations": [{"op": 1, "key": "a"}]}',
     b'{"operations": [{"op": "get", "key": "a", "color": "red"}]}',
     b'{"operations": [{"op":"put","key":"a","value_base64":"?"}]}',
     msgspec.json.encode({"operations": [{"op": "get", "key": "a"}] * 1001})],
)  # fmt: skip
def test_a_body_that_is_no_batch_is_refused_as_a_whole(ask: Client, body: bytes) -> None:
    assert ask.kind("POST", b"/v1/batch", JSON, body=body) == (422, "invalid-request")


def test_a_body_that_is_compressed_is_refused(ask: Client) -> None:
    body = msgspec.json.encode({"operations": [{"op": "get", "key": "a"}]})
    gzip, identity = ((b"content-encoding", name) for name in (b"gzip", b"identity"))
    assert ask.kind("POST", b"/v1/batch", JSON, gzip, body=body) == (415, "unsupported-encoding")
    assert ask("POST", b"/v1/batch", JSON, identity, body=body).status == 200
    # Where there are several lines each counts, and two types are none.
    assert ask.kind("POST", b"/v1/batch", JSON, gzip, identity, body=body) == (415, "unsupported-encoding")
    text = (b"content-type", b"text/plain")
    for types in ((text, JSON), (JSON, text), (JSON, (b"content-type", b"application/msgpack"))):
        assert ask.kind("POST", b"/v1/batch", *types, body=body) == (415, "unsupported-encoding")


def test_a_parameter_is_refused(ask: Client) -> None:
    """As everywhere: who misspells one is told."""
    body = msgspec.json.encode({"operations": [{"op": "get", "key": "a"}]})
    assert ask.kind("POST", b"/v1/batch?values=true", JSON, body=body) == (422, "invalid-request")
    assert ask.kind("POST", b"/v1/import?prefix=a", (b"content-type", b"application/x-ndjson"), body=b"") == (
        422,
        "invalid-request",
    )


@run_async
async def test_reads_alone_may_be_refused_where_too_much_is_being_read() -> None:
    """A batch in which something is written has happened by then."""
    handler = Batches(FakeDirectory(), Uploads(Limits()))  # type: ignore[arg-type]
    for op, repeatable in (({"op": "get", "key": "a"}, True), ({"op": "delete", "key": "a"}, False)):
        scope = scope_of("POST", b"/v1/batch", [JSON])
        grant(scope, OPEN)
        body = msgspec.json.encode({"operations": [{"op": "get", "key": "b"}, op]})

        async def receive(body: bytes = body) -> dict[str, object]:
            return {"type": "http.request", "body": body}

        assert (await handler.batch(scope, receive)).repeatable is repeatable


def test_a_batch_has_its_own_limit_of_bytes(ask: Client) -> None:
    body = msgspec.json.encode({"operations": [{"op": "put", "key": "a", "value": "x" * (16 << 20)}]})
    assert ask.kind("POST", b"/v1/batch", JSON, body=body) == (413, "value-too-large")


def test_a_value_that_is_longer_than_the_setting_allows_is_refused_alone() -> None:
    operations = [{"op": "put", "key": name, "value": "v" * size} for name, size in (("fits", 1000), ("long", 1001))]
    body = msgspec.json.encode({"operations": operations})
    app = http_on(FakeDirectory(), Limits(max_value_bytes=1000))
    answer = request(app, "POST", b"/v1/batch", headers=(JSON,), body=[body])
    assert [each["status"] for each in answer.json()["results"]] == [201, 413]


def test_an_idempotency_key_names_an_item_for_as_many_seconds_as_it_says() -> None:
    asked: list[int] = []

    class Noting(FakeDirectory):
        async def carry_out(self, operation: Any) -> Any:
            asked.append(operation.remember_ms)
            return await super().carry_out(operation)

    items = [
        {"op": "put", "key": "a", "value": "1", "idempotency_key": "a", "idempotency_ttl": ttl}
        for ttl in (90, 0.5, 600)
    ]
    items.append({"op": "increment", "key": "n", "idempotency_key": "a"})
    body = msgspec.json.encode({"operations": items})
    answer = request(http_on(Noting()), "POST", b"/v1/batch", headers=(JSON,), body=[body])
    assert answer.status == 200
    assert asked == [90_000, 500, 600_000, 0]
