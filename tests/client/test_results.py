"""What came of each item of a batch, as rules: no sockets, no clock."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cloud_storage import OutcomeUnknown, StoreError, Unavailable
from cloud_storage.attempts import Budget
from cloud_storage.exchange import Request, Response
from cloud_storage.many import gets, puts, record_of, results
from cloud_storage.steps import Broken, Exchange, NotSent

OWN = {"cloud-storage": "1"}
STORED, UNKNOWN, AWAY = {"status": 201, "revision": 7}, "outcome-unknown", "unavailable"


def problem(kind: str) -> dict[str, Any]:
    return {"type": f"urn:cloud-storage:{kind}", "status": 503, "detail": kind}


class Run:
    """A batch on its way: `answer` with what comes, one outcome for each request."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.now_s = 0.0
        self._steps = results(items, 10.0, Budget(), lambda: self.now_s)
        self.done: list[Any] | None = None
        self.request = self._next(None)

    def answer(self, outcome: Any) -> None:
        if isinstance(outcome, list):
            outcome = Response(200, OWN, msgspec.msgpack.encode({"results": outcome}))
        self.request = self._next(outcome)

    @property
    def keys(self) -> list[str]:
        """Of the items in the request."""
        assert self.request is not None
        assert self.request.body is not None
        return [item["key"] for item in msgspec.msgpack.decode(self.request.body)["operations"]]

    def _next(self, outcome: Any) -> Request | None:
        while True:
            try:
                step = self._steps.send(outcome)
            except StopIteration as done:
                self.done = done.value
                return None
            if isinstance(step, Exchange):
                return step.request
            self.now_s += step.seconds
            outcome = None


def run(*keys: str) -> Run:
    return Run(list(puts([(key, b"v") for key in keys], None, None, 30.0)))


def test_each_item_gets_its_own_result_also_of_a_second_round() -> None:
    sent = run("a", "b", "c", "d")
    sent.answer([STORED, problem(AWAY), {"status": 200, "revision": 8}, problem(AWAY)])
    assert sent.keys == ["b", "d"]
    sent.answer([problem(AWAY), {"status": 200, "revision": 9}])
    assert sent.keys == ["b"]
    sent.answer([{"status": 200, "revision": 10}])
    assert sent.done is not None
    assert [each["revision"] for each in sent.done] == [7, 10, 8, 9]


def test_a_second_round_that_fails_says_nothing_of_the_first() -> None:
    sent = run("a", "b", "c")
    sent.answer([STORED, problem(UNKNOWN), problem(AWAY)])
    sent.now_s = 11.0
    sent.answer(NotSent("away"))
    assert sent.done is not None
    assert sent.done[0] == STORED
    assert [type(each) for each in sent.done[1:]] == [OutcomeUnknown, Unavailable]


def test_what_may_have_happened_stays_so_where_it_is_refused_later() -> None:
    sent = run("a", "b")
    sent.answer([problem(UNKNOWN), STORED])
    sent.now_s = 10.0
    sent.answer([problem(AWAY)])
    assert sent.done is not None
    assert isinstance(sent.done[0], OutcomeUnknown)


def test_names_stay_the_same_from_round_to_round() -> None:
    sent = run("a", "b")
    assert sent.request is not None
    first = msgspec.msgpack.decode(sent.request.body or b"")["operations"]
    sent.answer(Broken("cut"))
    assert msgspec.msgpack.decode(sent.request.body or b"")["operations"] == first
    sent.answer([problem(AWAY), problem(UNKNOWN)])
    assert msgspec.msgpack.decode(sent.request.body or b"")["operations"] == first


def test_a_first_round_that_fails_is_of_all() -> None:
    sent = run("a", "b")
    sent.now_s = 11.0
    with pytest.raises(OutcomeUnknown):
        sent.answer(Broken("cut"))


@pytest.mark.parametrize("body", [b"", b"\xc1", b"<html>", msgspec.msgpack.encode({"results": [STORED]})])
def test_an_answer_that_can_not_be_read_is_none(body: bytes) -> None:
    sent = run("a", "b")
    sent.answer(Response(200, OWN, body))
    assert sent.keys == ["a", "b"], "it is sent again"


def test_what_is_too_large_for_a_batch_goes_alone() -> None:
    large = run("large")
    assert large.keys == ["large"]
    sent = Run(list(puts([("large", b"v" * 5_000_000)], "text/x-own", 60.0, 30.0)))
    assert sent.request is not None
    assert (sent.request.method, sent.request.target) == ("PUT", "/v1/kv?key=large&ttl=60")
    assert sent.request.headers["Content-Type"] == "text/x-own"
    sent.answer(Response(201, {**OWN, "etag": '"5"'}, b""))
    assert sent.done == [{"status": 201, "revision": 5}]
    read = Run(list(gets(["a", "b"])))
    got = {"status": 200, "revision": 1, "content_type": "t", "value": b"x"}
    read.answer([problem("value-too-large"), got])
    assert read.request is not None
    assert read.request.target == "/v1/kv?key=a"
    read.answer(Response(200, {**OWN, "etag": '"5"', "content-type": "u"}, b"alone"))
    assert read.done is not None
    assert not any(isinstance(each, StoreError) for each in read.done)
    records = [record_of(key, each) for key, each in zip("ab", read.done, strict=True)]
    assert [record and (record.key, record.value) for record in records] == [("a", b"alone"), ("b", b"x")]
