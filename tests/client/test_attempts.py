"""When a request is sent again, as rules: no sockets, no clock."""

from __future__ import annotations

import json

import pytest

from cloud_storage import OutcomeUnknown, Refused, Unavailable
from cloud_storage.attempts import Attempts, Budget
from cloud_storage.exchange import Request, Response

READ, WRITE = Request("GET", "/v1/kv?key=a"), Request("PUT", "/v1/kv?key=a", writes=True)
ONCE = Request("POST", "/v1/x", writes=True, repeatable=False)


def attempts(request: Request, budget: Budget | None = None) -> Attempts:
    return Attempts(request, 10.0, budget or Budget(), lambda: 1.0)


def problem(kind: str, status: int = 503, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps({"type": f"urn:cloud-storage:{kind}", "detail": "why"}).encode()
    return Response(status, {"content-type": "application/problem+json", **(headers or {})}, body)


def test_pauses_grow_to_a_second() -> None:
    tried = attempts(READ)
    pauses = [tried.not_sent("away", 0.0) for _ in range(9)]
    assert pauses[:3] == [0.02, 0.04, 0.08]
    assert pauses[-1] == 1.0


@pytest.mark.parametrize("request_", [READ, WRITE])
def test_what_was_not_sent_ends_as_refused(request_: Request) -> None:
    with pytest.raises(Unavailable, match="away"):
        attempts(request_).not_sent("away", 9.999)


def test_a_write_that_may_have_happened_ends_as_unknown_also_where_it_is_refused_later() -> None:
    tried = attempts(WRITE)
    tried.broken("cut", 0.0)
    with pytest.raises(OutcomeUnknown):
        tried.not_sent("away", 9.999)
    tried = attempts(WRITE)
    assert tried.answered(problem("outcome-unknown", 504), 0.0)
    with pytest.raises(OutcomeUnknown):
        tried.answered(problem("unavailable"), 9.999)


def test_a_read_that_broke_ends_as_refused() -> None:
    tried = attempts(READ)
    tried.broken("cut", 0.0)
    with pytest.raises(Unavailable):
        tried.left_s(10.0)


def test_what_may_not_be_repeated_is_not() -> None:
    with pytest.raises(OutcomeUnknown):
        attempts(ONCE).broken("cut", 0.0)
    assert attempts(ONCE).not_sent("away", 0.0) > 0
    assert attempts(ONCE).answered(problem("unavailable"), 0.0)


def test_a_store_that_says_when_is_asked_then() -> None:
    assert attempts(READ).answered(problem("unavailable", headers={"retry-after": "3"}), 0.0) == 3.0
    with pytest.raises(Refused):
        attempts(READ).answered(problem("unavailable", headers={"retry-after": "30"}), 0.0)


@pytest.mark.parametrize(
    ("response", "final"),
    [
        (Response(200, {"cloud-storage": "1"}, b""), True),
        (Response(204, {"cloud-storage": "1"}, b""), True),
        (Response(200, {"etag": '"1"', "x-content-type-options": "nosniff"}, b"<html>"), False),
        (Response(200, {}, b"<html>welcome to the hotel's network</html>"), False),
        (Response(404, {"content-type": "text/html"}, b""), False),
        (Response(500, {}, b"Internal Server Error"), False),
        (Response(503, {"content-type": "application/problem+json"}, b"{"), False),
        (Response(404, {"content-type": "application/problem+json"}, b'{"type": "about:blank"}'), False),
        (problem("key-not-found", 404), True),
        (problem("condition-failed", 412), True),
        (problem("disk-full", 507), True),
        (problem("unavailable"), False),
        (problem("outcome-unknown", 504), False),
        (problem("upload-timeout", 408), False),
    ],
)
def test_only_what_the_store_says_is_an_answer(response: Response, final: bool) -> None:
    assert (attempts(READ).answered(response, 0.0) is None) is final


def test_a_budget_lets_many_who_fail_together_wait_for_each_other() -> None:
    budget = Budget(burst=2.0, per_second=10.0)

    def taken(now_s: float) -> float:
        wait_s = budget.wait_s(now_s)
        budget.take()
        return wait_s

    assert [taken(1.0) for _ in range(4)] == pytest.approx([0.0, 0.0, 0.1, 0.2])
    budget.earn()
    assert taken(1.0) == pytest.approx(0.29)
    assert taken(100.0) == 0.0


def test_thousands_that_give_up_together_leave_no_debt() -> None:
    budget = Budget()
    for _ in range(3000):
        with pytest.raises(Unavailable):
            attempts(READ, budget).not_sent("away", 9.9999)
    assert attempts(READ, budget).not_sent("away", 0.0) < 1.0
