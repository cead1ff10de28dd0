"""`/v1` on a real store: through HAProxy, Serve, a directory and the buckets, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from harness.running_store import RunningStore
from tests.support.event_stream import EventStream
from tests.support.raw_http import RawConnection, head
from tests.support.waiting import until

pytestmark = pytest.mark.ray

BYTES = bytes(range(256))


@pytest.fixture
def client(store: RunningStore) -> Iterator[httpx.Client]:
    with store.client() as client:
        yield client


@pytest.fixture
def prefix(request: pytest.FixtureRequest, client: httpx.Client) -> Iterator[str]:
    """Keys of one test's own, gone at its end."""
    mine = f"v1/{request.node.name}/"
    yield mine
    delete_all(client, mine)


def delete_all(client: httpx.Client, prefix: str) -> None:
    while keys := client.get("/v1/keys", params={"prefix": prefix}).json()["keys"]:
        results(client, *({"op": "delete", "key": entry["key"]} for entry in keys))


def results(client: httpx.Client, *operations: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post("/v1/batch", json={"operations": operations})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:cloud-storage:")


# -- values --------------------------------------------------------------------------------------------------------------


def test_bytes_come_back_as_they_were_with_their_type_and_metadata(client: httpx.Client, prefix: str) -> None:
    key = prefix + "a/b"
    created = client.put(f"/v1/kv/{key}", content=BYTES, headers={"Content-Type": "image/png"})
    assert (created.status_code, created.content) == (201, b"")
    found, described = client.get(f"/v1/kv/{key}"), client.head("/v1/kv", params={"key": key})
    assert (found.status_code, found.content, described.content) == (200, BYTES, b"")
    for answer in (found, described):
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["content-length"] == "256"
        assert answer.headers["content-security-policy"] == "sandbox"
        for name in ("etag", "bucket", "digest"):
            assert answer.headers[name] == created.headers[name]
    assert found.headers["last-modified"] == described.headers["last-modified"]
    deleted = client.delete(f"/v1/kv/{key}")
    assert deleted.status_code == 204
    assert int(deleted.headers["etag"].strip('"')) > int(created.headers["etag"].strip('"'))
    assert kind(client.get(f"/v1/kv/{key}")) == kind(client.delete(f"/v1/kv/{key}")) == (404, "key-not-found")


def test_large_values_of_any_bytes_come_back_whole(client: httpx.Client, prefix: str) -> None:
    value = BYTES * 40_000
    assert client.put(f"/v1/kv/{prefix}large", content=value).status_code == 201
    assert client.get(f"/v1/kv/{prefix}large").content == value
    part = client.get(f"/v1/kv/{prefix}large", headers={"Range": "bytes=5000000-5999999"})
    assert (part.status_code, part.content) == (206, value[5_000_000:6_000_000])


def test_keys_that_clients_fold_out_of_paths_are_given_as_parameters(client: httpx.Client, prefix: str) -> None:
    for key in ("/" + prefix, prefix + "..", prefix + "../.", prefix + "?a=b&c#d", prefix + "ключ\0"):
        assert client.put("/v1/kv", params={"key": key}, content=key.encode()).status_code == 201
        assert client.get("/v1/kv", params={"key": key}).content == key.encode()
        assert client.delete("/v1/kv", params={"key": key}).status_code == 204


def test_writes_and_reads_have_conditions(client: httpx.Client, prefix: str) -> None:
    path = f"/v1/kv/{prefix}k"
    only_new = {"If-None-Match": "*"}
    first = client.put(path, content=b"1", headers=only_new)
    again = client.put(path, content=b"2", headers=only_new)
    assert (first.status_code, kind(again)) == (201, (412, "condition-failed"))
    assert again.headers["etag"] == first.headers["etag"]
    mine = {"If-Match": first.headers["etag"]}
    second = client.put(path, content=b"2", headers=mine)
    assert second.status_code == 200
    assert client.put(path, content=b"3", headers=mine).status_code == 412
    assert client.delete(path, headers=mine).status_code == 412
    unchanged = client.get(path, headers={"If-None-Match": second.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert client.get(path, headers={"If-None-Match": first.headers["etag"]}).content == b"2"
    assert client.delete(path, headers={"If-Match": second.headers["etag"]}).status_code == 204
    assert client.put(path, content=b"4", headers={"If-Match": "*"}).status_code == 412


def test_a_range_of_a_value_is_read(client: httpx.Client, prefix: str) -> None:
    path = f"/v1/kv/{prefix}k"
    etag = client.put(path, content=BYTES).headers["etag"]
    for asked, part in (("bytes=0-9", BYTES[:10]), ("bytes=250-", BYTES[250:]), ("bytes=-6", BYTES[-6:])):
        answer = client.get(path, headers={"Range": asked, "If-Range": etag})
        assert (answer.status_code, answer.content) == (206, part)
        assert answer.headers["content-range"].endswith("/256")
    beyond = client.get(path, headers={"Range": "bytes=256-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */256")
    assert client.get(path, headers={"Range": "bytes=0-9", "If-Range": '"0"'}).content == BYTES


# -- expiry and counters --------------------------------------------------------------------------------------------------


def test_what_has_expired_is_gone_from_reads_and_lists(client: httpx.Client, prefix: str) -> None:
    path = f"/v1/kv/{prefix}k"
    assert client.put(path, params={"ttl": "0.3"}, content=b"v").status_code == 201
    client.put(f"/v1/kv/{prefix}stays", content=b"v")
    until(lambda: client.get(path).status_code == 404)
    listed = client.get("/v1/keys", params={"prefix": prefix}).json()["keys"]
    assert [entry["key"] for entry in listed] == [prefix + "stays"]
    created = client.put(path, content=b"v", headers={"If-None-Match": "*"})
    assert created.status_code == 201
    assert "expires-at" not in client.get(path).headers


def test_a_touch_says_when_a_record_is_to_expire(client: httpx.Client, prefix: str) -> None:
    path, key = f"/v1/kv/{prefix}k", prefix + "k"
    client.put(path, content=b"v", params={"ttl": "0.5"})
    touched = client.post("/v1/touch", params={"key": key, "expires_at": "2099-01-02T03:04:05.678Z"})
    assert touched.json()["expires"] == "2099-01-02T03:04:05.678Z"
    assert client.head(path).headers["expires-at"] == "2099-01-02T03:04:05.678Z"
    assert client.post("/v1/touch", params={"key": key, "expires_at": "never"}).json()["expires"] is None
    assert "expires-at" not in client.get(path).headers
    assert client.post("/v1/touch", params={"key": key, "ttl": "0.05"}).status_code == 200
    until(lambda: client.head(path).status_code == 404)
    assert kind(client.post("/v1/touch", params={"key": key, "ttl": "60"})) == (404, "key-not-found")


def test_a_number_is_counted(client: httpx.Client, prefix: str) -> None:
    key = {"key": prefix + "n"}
    assert client.post("/v1/increment", params=key).json()["value"] == 1
    assert client.post("/v1/increment", params=key, json={"by": -43}).json()["value"] == -42
    assert client.get("/v1/kv", params=key).text == "-42"
    client.put("/v1/kv", params=key, content=b"word")
    assert kind(client.post("/v1/increment", params=key)) == (409, "not-a-number")


def test_a_request_that_comes_again_is_answered_as_the_first_was(client: httpx.Client, prefix: str) -> None:
    key, once = {"key": prefix + "n"}, {"Idempotency-Key": "once"}
    first, again = (client.post("/v1/increment", params=key, headers=once) for _ in range(2))
    assert (first.status_code, first.content) == (again.status_code, again.content) == (200, first.content)
    other = client.post("/v1/increment", params=key, headers=once, json={"by": 2})
    assert kind(other) == (422, "idempotency-key-reused")
    assert client.get("/v1/kv", params=key).text == "1"


# -- lists ----------------------------------------------------------------------------------------------------------------


def listed(client: httpx.Client, **asked: Any) -> Iterator[dict[str, Any]]:
    """The pages of a list."""
    after = ""
    while after is not None:
        page = client.get("/v1/keys", params=asked | {"start_after": after}).json()
        yield page
        after = page["next"]


def test_keys_are_listed_in_order_page_by_page(client: httpx.Client, prefix: str) -> None:
    keys = sorted(f"{prefix}{number}" for number in range(250))
    results(client, *({"op": "put", "key": key, "value": key} for key in keys))
    pages = [[entry["key"] for entry in page["keys"]] for page in listed(client, prefix=prefix, limit=100)]
    assert [key for page in pages for key in page] == keys
    assert max(map(len, pages)) == 100
    (first,) = client.get("/v1/keys", params={"prefix": prefix, "limit": 1, "values": "true"}).json()["keys"]
    assert (first["key"], first["value"], first["size"]) == (keys[0], keys[0], len(keys[0]))
    assert (first["content_type"], first["expires"]) == ("text/plain; charset=utf-8", None)


def test_keys_below_a_delimiter_are_told_together(client: httpx.Client, prefix: str) -> None:
    names = ["a", "b/1", "b/2", "c/1/2", "d"] + [f"e{number}/x" for number in range(20)]
    results(client, *({"op": "put", "key": prefix + name, "value": ""} for name in names))
    for limit in (1, 3, 1000):
        pages = list(listed(client, prefix=prefix, delimiter="/", limit=limit))
        assert [entry["key"] for page in pages for entry in page["keys"]] == [prefix + "a", prefix + "d"]
        told = [name for page in pages for name in page["common_prefixes"]]
        assert told == [prefix + name for name in sorted(["b/", "c/", *(f"e{number}/" for number in range(20))])]


# -- batches --------------------------------------------------------------------------------------------------------------


def test_a_batch_goes_to_all_buckets_and_is_answered_in_order(client: httpx.Client, prefix: str) -> None:
    keys = [f"{prefix}{number}" for number in range(100)]
    put = results(client, *({"op": "put", "key": key, "value": key} for key in keys))
    assert [each["status"] for each in put] == [201] * 100
    got = results(client, *({"op": "get", "key": key} for key in keys))
    assert [each["value"] for each in got] == keys
    assert [each["revision"] for each in got] == [each["revision"] for each in put]
    mixed = results(
        client,
        {"op": "increment", "key": prefix + "n", "by": 5},
        {"op": "put", "key": keys[0], "value": "x", "if_none_match": "*"},
        {"op": "nonsense", "key": keys[0]},
        {"op": "touch", "key": keys[1], "ttl": 100},
        {"op": "delete", "key": keys[2]},
        {"op": "get", "key": keys[2]},
        {"op": "get", "key": prefix + "n"},
    )
    assert [each["status"] for each in mixed] == [200, 412, 422, 200, 204, 404, 200]
    assert mixed[-1]["value"] == "5"


def test_a_batch_in_msgpack_has_values_as_bytes(client: httpx.Client, prefix: str) -> None:
    asked = {
        "operations": [{"op": "put", "key": prefix + "k", "value": BYTES}, {"op": "get", "key": prefix + "k"}],
    }
    packed = msgspec.msgpack.encode(asked)
    answer = client.post("/v1/batch", content=packed, headers={"Content-Type": "application/msgpack"})
    assert answer.headers["content-type"] == "application/msgpack"
    put, got = msgspec.msgpack.decode(answer.content)["results"]
    assert (put["status"], got["status"], got["value"]) == (201, 200, BYTES)
    assert client.get(f"/v1/kv/{prefix}k").content == BYTES


# -- watches --------------------------------------------------------------------------------------------------------------


def test_a_watch_tells_what_changes_with_its_revision(store: RunningStore, client: httpx.Client, prefix: str) -> None:
    with EventStream(store.url, prefix) as watch:
        assert watch.answer.headers["content-type"] == "text/event-stream"
        put = client.put(f"/v1/kv/{prefix}k", content=b"v")
        client.put("/v1/kv/elsewhere", content=b"v")
        client.delete("/v1/kv/elsewhere")
        deleted = client.delete(f"/v1/kv/{prefix}k")
        client.put(f"/v1/kv/{prefix}k", content=b"v", params={"ttl": "0.01"})
        events = watch.take(4)
    assert [(event.kind, event.key) for event in events] == [
        (name, prefix + "k") for name in ("put", "delete", "put", "expire")
    ]
    assert [f'"{event.revision}"' for event in events[:2]] == [put.headers["etag"], deleted.headers["etag"]]
    assert [event.revision for event in events] == sorted(event.revision for event in events)


def test_a_watch_tells_values_where_they_are_asked_for(store: RunningStore, client: httpx.Client, prefix: str) -> None:
    with EventStream(store.url, prefix, values=True) as watch:
        client.put(f"/v1/kv/{prefix}text", content="é".encode(), headers={"Content-Type": "text/plain"})
        (text,) = watch.take(1)
        client.put(f"/v1/kv/{prefix}bytes", content=b"\xff")
        (raw,) = watch.take(1)
        client.delete(f"/v1/kv/{prefix}text")
        (deleted,) = watch.take(1)
    assert (text.key, text.data["value"], text.data["content_type"]) == (prefix + "text", "é", "text/plain")
    assert (raw.key, raw.data["value_base64"]) == (prefix + "bytes", "/w==")
    assert (deleted.kind, set(deleted.data)) == ("delete", {"key", "revision"})


def test_a_watch_goes_on_from_its_last_event_on_any_connection(
    store: RunningStore, client: httpx.Client, prefix: str
) -> None:
    with EventStream(store.url, prefix) as watch:
        client.put(f"/v1/kv/{prefix}heard", content=b"v")
        watch.take(1)
        client.put(f"/v1/kv/{prefix}last", content=b"v")
        watch.take(1)
        last_id = watch.last_id
    missed = [f"{prefix}{number}" for number in range(100)]
    results(client, *({"op": "put", "key": key, "value": ""} for key in missed))
    for _ in range(4):  # of which some lead to the other directory
        with EventStream(store.url, prefix, last_id=last_id) as again:
            heard = [event.key for event in again.take(len(missed))]
            assert sorted(set(heard) - {prefix + "last"}) == sorted(missed)
            client.put(f"/v1/kv/{prefix}now", content=b"v")
            assert again.until(lambda event: event.key == prefix + "now")


@pytest.mark.parametrize(
    ("last_id", "expected"),
    [("nonsense", (422, "invalid-request")), ("00000000-0.00000000.1", (410, "history-lost"))],
)
def test_an_id_that_is_none_of_this_store_is_refused(
    client: httpx.Client, last_id: str, expected: tuple[int, str]
) -> None:
    assert kind(client.get("/v1/watch", headers={"Last-Event-ID": last_id})) == expected
    assert kind(client.get("/v1/watch", params={"last_event_id": last_id})) == expected


def test_a_watch_ends_with_its_client(store: RunningStore, client: httpx.Client, prefix: str) -> None:
    """More come and go than a directory takes at once: none is left behind."""
    request = head("GET", b"/v1/watch?prefix=" + prefix.encode())
    for _ in range(2_200 // 100):
        some = [RawConnection(store.port) for _ in range(100)]
        for connection in some:
            connection.send(request)
        for connection in some:
            answer = connection.answer()
            assert answer is not None
            assert answer.status == 200
            connection.close()
    with EventStream(store.url, prefix) as watch:
        client.put(f"/v1/kv/{prefix}k", content=b"v")
        assert watch.take(1)[0].key == prefix + "k"


# -- export and import ----------------------------------------------------------------------------------------------------


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def metadata(client: httpx.Client, key: str) -> tuple[Any, ...]:
    answer = client.get("/v1/kv", params={"key": key})
    return answer.content, *(answer.headers.get(name) for name in ("content-type", "last-modified", "expires-at"))


def test_what_was_exported_is_imported_as_it_was(client: httpx.Client, prefix: str) -> None:
    client.put(f"/v1/kv/{prefix}text", content="é\n".encode(), headers={"Content-Type": "text/html"})
    client.put(f"/v1/kv/{prefix}bytes", content=BYTES)
    client.put(f"/v1/kv/{prefix}empty", content=b"")
    for number in range(300):  # of all milliseconds some are written by a number that is not quite theirs
        at = f"2099-01-02T03:04:05.{number:03d}Z"
        assert client.put(f"/v1/kv/{prefix}expires/{number:03d}", content=b"v", params={"expires_at": at}).is_success
    client.put(f"/v1/kv/{prefix}gone", content=b"v", params={"ttl": "1"})
    exported = client.get("/v1/export", params={"prefix": prefix})
    assert exported.headers["content-type"] == "application/x-ndjson"
    told = lines(exported.text)
    assert told[-1] == {"exported": len(told) - 1}
    kept = [each["key"] for each in told[:-1] if each["key"] != prefix + "gone"]
    assert len(kept) == 303
    before = {key: metadata(client, key) for key in kept}
    until(lambda: client.get(f"/v1/kv/{prefix}gone").status_code == 404)
    delete_all(client, prefix)
    taken = client.post("/v1/import", content=exported.content, headers={"Content-Type": "application/x-ndjson"})
    assert (taken.status_code, taken.json()) == (200, {"imported": 303, "expired": 1}), taken.text
    assert {key: metadata(client, key) for key in kept} == before
    again = lines(client.get("/v1/export", params={"prefix": prefix}).text)
    without = [{name: value for name, value in each.items() if name != "revision"} for each in again[:-1]]
    assert without == [
        {name: value for name, value in each.items() if name != "revision"}
        for each in told[:-1]
        if each["key"] != prefix + "gone"
    ]


def imported(client: httpx.Client, *records: dict[str, Any] | str) -> httpx.Response:
    body = "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in records)
    return client.post("/v1/import", content=body.encode(), headers={"Content-Type": "application/x-ndjson"})


@pytest.mark.parametrize("before", [3, 700])
def test_an_import_that_stops_says_what_it_stored(client: httpx.Client, prefix: str, before: int) -> None:
    """And all that it does not count, from the line that it names on, is not there."""
    records = [{"key": f"{prefix}{number:04d}", "value": "v"} for number in range(before)]
    stopped = imported(client, *records, "", "not JSON", {"key": prefix + "behind", "value": "v"})
    assert kind(stopped) == (422, "invalid-request")
    told = stopped.json()
    assert (told["imported"], told["line"]) == (before, before + 2)
    assert f"line {before + 2}" in told["detail"]
    there = [entry["key"] for page in listed(client, prefix=prefix) for entry in page["keys"]]
    assert there == [each["key"] for each in records]


@pytest.mark.parametrize("content_type", ["text/html\r\nSet-Cookie: a=b", "text/plain; x=é", "a\0b"])
def test_a_content_type_that_no_header_may_have_is_not_imported(
    client: httpx.Client, prefix: str, content_type: str
) -> None:
    stopped = imported(client, {"key": prefix + "k", "value": "v", "content_type": content_type})
    assert kind(stopped) == (422, "invalid-request")
    assert client.get(f"/v1/kv/{prefix}k").status_code == 404
