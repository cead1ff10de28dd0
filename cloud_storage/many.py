"""Many keys at once, by `/v1/batch` in msgpack: each item stands for itself, and those that were refused for now, or whose
outcome is not known, are sent again under their own idempotency keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import msgspec

from cloud_storage import answers, calls
from cloud_storage.attempts import LONGEST_ON_ITS_WAY_S, Attempts, Budget
from cloud_storage.batches import BYTES, Batches
from cloud_storage.calls import Value
from cloud_storage.errors import OutcomeUnknown, StoreError
from cloud_storage.exchange import Call, Request, Response
from cloud_storage.records import Record
from cloud_storage.steps import Pause, Steps, carried_out

#: Of a result: the record, where it was read by itself.
_RECORD = "record"
_TOO_LARGE = "value-too-large"
_HEADERS = {"Content-Type": "application/msgpack"}
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

Item = dict[str, Any]
Result = dict[str, Any]
Batch = list[Item]
Results = list[Result | StoreError]


def gets(keys: Iterable[str]) -> Iterator[Item]:
    """Each key once."""
    return ({"op": "get", "key": key} for key in dict.fromkeys(keys))


def puts(
    values: Mapping[str, Value] | Iterable[tuple[str, Value]],
    content_type: str | None,
    ttl: float | None,
    timeout_s: float,
) -> Iterator[Item]:
    """In order: of a key that comes twice the last value stays. timeout_s: nothing is sent again after that."""
    repeats = _repeats(timeout_s)
    for key, value in values.items() if isinstance(values, Mapping) else values:
        item: Item = {
            "op": "put",
            "key": key,
            "value": calls.raw(value),
            "idempotency_key": calls.new_name(),
            **repeats,
        }
        item["content_type"] = content_type or calls.type_of(value)
        if ttl is not None:
            item["ttl"] = ttl
        yield item


def deletes(keys: Iterable[str], timeout_s: float) -> Iterator[Item]:
    repeats = _repeats(timeout_s)
    return ({"op": "delete", "key": key, "idempotency_key": calls.new_name(), **repeats} for key in dict.fromkeys(keys))


def _repeats(timeout_s: float) -> Item:
    # A store remembers so many writes: at some ten thousand a second it is full before the first is forgotten by itself.
    return {"idempotency_ttl": timeout_s + LONGEST_ON_ITS_WAY_S}


def in_batches(items: Iterable[Item]) -> Batches[Item]:
    return Batches(items, lambda item: str(item["key"]), lambda item: len(item.get("value", b"")))


def results(items: Batch, deadline_s: float, budget: Budget, clock: Callable[[], float]) -> Steps[Results]:
    """What came of each item of a batch, in order. Raises StoreError: of the batch as a whole."""
    if len(items) == 1 and len(items[0].get("value", b"")) > BYTES:
        return [(yield from _put_alone(items[0], deadline_s, budget, clock))]
    found: Results = [{}] * len(items)
    left = list(range(len(items)))
    writes = any(item["op"] != "get" for item in items)
    attempts: Attempts | None = None
    while left:
        body = _encode({"operations": [items[number] for number in left]})
        request = Request("POST", "/v1/batch", _HEADERS, body, writes=writes)
        call = Call(request, calls.else_raise({200}, partial(_read, len(left))))
        try:
            answered = yield from carried_out(call, deadline_s, budget, clock)
        except StoreError as error:
            if attempts is None:
                raise  # of all of them
            for number in left:
                found[number] = _worse(found[number], error)
            return found
        again, why = [], ""
        for number, result in zip(left, answered, strict=True):
            kind = answers.kind_of(result) if "type" in result else ""
            if kind in answers.AGAIN:
                again.append(number)
                why = str(result.get("detail") or kind)
                found[number] = _worse(found[number], answers.error_of(result))
            else:
                found[number] = answers.error_of(result) if kind and kind != answers.KEY_NOT_FOUND else result
            if (
                kind == _TOO_LARGE and items[number]["op"] == "get"
            ):  # a batch is answered with so much; one key with more
                found[number] = yield from _get_alone(items[number], deadline_s, budget, clock)
        if again:
            attempts = attempts or Attempts(request, deadline_s, budget)
            try:
                pause_s = attempts.broken(why, clock())
            except StoreError:
                return found  # each says what came of it
            yield Pause(pause_s)
        left = again
    return found


def _worse(before: Result | StoreError, now: StoreError) -> StoreError:
    """What refuses it now says nothing of what may have happened before."""
    return before if isinstance(before, OutcomeUnknown) else now


def _get_alone(item: Item, deadline_s: float, budget: Budget, clock: Callable[[], float]) -> Steps[Result | StoreError]:
    try:
        return {_RECORD: (yield from carried_out(calls.get(item["key"]), deadline_s, budget, clock))}
    except StoreError as error:
        return error


def _put_alone(item: Item, deadline_s: float, budget: Budget, clock: Callable[[], float]) -> Steps[Result]:
    """A value that is larger than a batch may be."""
    call = calls.put(item["key"], item["value"], content_type=item["content_type"], ttl=item.get("ttl"))
    written = yield from carried_out(call, deadline_s, budget, clock)
    return {"status": 201 if written.created else 200, "revision": written.revision}


def _read(count: int, response: Response) -> list[Result]:
    """Raises ValueError: they are not so many."""
    answered: list[Result] = _decode(response.body)["results"]
    if len(answered) != count:
        raise ValueError(f"{len(answered)} results instead of {count}")
    return answered


def record_of(key: str, result: Result) -> Record | None:
    """Of a get; None where there is none."""
    if "type" in result:
        return None
    if _RECORD in result:
        alone: Record | None = result[_RECORD]
        return alone
    value = result["value"]
    return Record(
        key,
        value.encode() if isinstance(value, str) else value,
        result["revision"],
        result["content_type"],
        calls.moment(result.get("modified")),
        calls.moment(result.get("expires")),
    )


def deleted(result: Result) -> bool:
    """Whether there was a record."""
    return bool(result["status"] == 204)
