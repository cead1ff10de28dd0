"""A watcher that does not read costs nobody anything: others are served, it is dropped and told so, and can come back."""

from __future__ import annotations

import threading

import pytest

from harness.running_store import RunningStore
from tests.support.event_stream import EventStream
from tests.support.waiting import until

pytestmark = pytest.mark.ray

#: Long, so that what is kept for watches, and what the kernel holds back for the one, is full soon.
FILLER = "k" * 900
KEYS = [f"not-read/{number:03}/{FILLER}" for number in range(500)]
ROUNDS = 160


def test_a_watcher_that_does_not_read_is_dropped_and_goes_on_where_it_was(store: RunningStore) -> None:
    with (
        store.client() as client,
        EventStream(store.url, "not-read/") as stuck,
        EventStream(store.url, "not-read/", timeout_s=60) as quick,
    ):
        reader = Reader(quick)
        revisions: dict[str, int] = {}
        for _ in range(ROUNDS):
            answer = client.post("/v1/batch", json={"operations": [{"op": "put", "key": k, "value": ""} for k in KEYS]})
            results = answer.json()["results"]
            assert {each["status"] for each in results} <= {200, 201}
            revisions.update(zip(KEYS, (each["revision"] for each in results), strict=True))
        reader.wait_for(revisions)
        before = list(stuck)
        assert before[-1].kind == "dropped"
        assert "keep up" in before[-1].data["detail"]
        told = {event.key: event.revision for event in before[:-1]}
        assert told != revisions, "it was dropped before the end"
        with EventStream(store.url, "not-read/", last_id=stuck.last_id, timeout_s=60) as again:
            for event in again:
                assert event.revision > told.get(event.key, 0) or event.key not in told
                told[event.key] = event.revision
                if told == revisions:
                    break
        deletes = [{"op": "delete", "key": key} for key in KEYS]
        assert client.post("/v1/batch", json={"operations": deletes}).status_code == 200
    assert told == revisions


class Reader:
    """Reads a watch as fast as it can, in a thread, until it is closed."""

    def __init__(self, watch: EventStream) -> None:
        self._watch = watch
        self._told: dict[str, int] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, revisions: dict[str, int]) -> None:
        """Until it has been told of these, and of none later."""
        until(lambda: self._told == revisions, timeout_s=60)

    def _read(self) -> None:
        for event in self._watch:
            if event.kind != "put" or event.revision <= self._told.get(event.key, 0):
                return  # never backwards: what follows is not taken, and waited for in vain
            self._told[event.key] = event.revision
