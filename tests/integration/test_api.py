"""The first API on a real store."""

from __future__ import annotations

import hashlib

import pytest

from harness.running_store import RunningStore

pytestmark = pytest.mark.ray


def test_put_get_delete(store: RunningStore) -> None:
    digest = hashlib.sha256(b"api-hello").hexdigest()
    place = {"bucket_id": int(digest, 16) % 3, "digest": digest}
    with store.client() as client:
        created = client.put("/put", params={"key": "api-hello", "value": "world"})
        assert created.status_code == 200
        assert created.json() == {"key": "api-hello", "value": "world", "action": "created", **place}
        updated = client.put("/put", params={"key": "api-hello"}, content="moon")
        assert updated.json() == {"key": "api-hello", "value": "moon", "action": "updated", **place}
        assert client.get("/get/api-hello").json() == {"value": "moon", **place}
        assert client.get("/get", params={"key": "api-hello"}).json() == {"value": "moon", **place}
        assert client.delete("/delete/api-hello").json() == {"key": "api-hello", "value": "moon", **place}
        for answer in (client.get("/get/api-hello"), client.delete("/delete", params={"key": "api-hello"})):
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == 404
