"""`/v1/batch`: many operations in one request, in JSON or msgpack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from serve_app.auth.access import Access, access_of
from serve_app.directory.directory import Directory
from serve_app.directory.routed import Routed
from serve_app.errors import InvalidRequest, StoreError
from serve_app.http import problems, requests
from serve_app.http.answer import HttpAnswer
from serve_app.http.conditions import condition_of
from serve_app.http.requests import Scope
from serve_app.http.uploads import Receive, Uploads
from serve_app.http.v1.kv import DEFAULT_CONTENT_TYPE, condition_failed, not_found
from serve_app.http.v1.target import NEVER, check_expiry, milliseconds_of, moment_ms, shown_moment
from serve_app.operations import (
    Counted,
    Delete,
    Deleted,
    Get,
    Increment,
    Missing,
    NotMet,
    Operation,
    Put,
    Touch,
    Touched,
    Value,
    Written,
)
from serve_app.operations.condition import Condition
from serve_app.outcomes import OUTCOMES_KEPT_MS
from serve_app.record_bounds import check_key
from serve_app.wire.messages import MAX_BATCH

#: The body of a request: what goes to one bucket is one message.
MAX_BODY_BYTES = 16 * 1024 * 1024
JSON, MSGPACK = b"application/json", b"application/msgpack"
TEXT_TYPE = "text/plain; charset=utf-8"


class Item(msgspec.Struct, forbid_unknown_fields=True):
    """One operation, as it is asked for in JSON. Of an item that is not about them the other fields are left out."""

    op: str
    key: str
    value: str | None = None
    value_base64: bytes | None = None
    content_type: str | None = None
    ttl: float | None = None
    expires_at: str | float | None = None
    by: int = 1
    if_match: str | None = None
    if_none_match: str | None = None
    idempotency_key: str | None = None
    idempotency_ttl: float | None = None


class PackedItem(Item, forbid_unknown_fields=True):
    """The same in msgpack, where a value is bytes (or text)."""

    value: Any = None


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    operations: list[Item]


class _PackedAsked(msgspec.Struct, forbid_unknown_fields=True):
    operations: list[PackedItem]


class Got(msgspec.Struct, omit_defaults=True):
    """A result that holds a value."""

    status: int
    revision: int
    content_type: str
    modified: str | None
    expires: str | None
    value: str | bytes | None = None
    value_base64: bytes | None = None


_decode_json = msgspec.json.Decoder(_Asked).decode
_decode_packed = msgspec.msgpack.Decoder(_PackedAsked).decode
_encode_json = msgspec.json.Encoder().encode
_encode_packed = msgspec.msgpack.Encoder().encode


class Batches:
    """The handler, on one directory."""

    def __init__(self, directory: Directory, uploads: Uploads) -> None:
        self._directory = directory
        self._uploads = uploads

    async def batch(self, scope: Scope, receive: Receive) -> HttpAnswer:
        """`POST /v1/batch`."""
        access = access_of(scope)
        access.require_any("read", "write")
        requests.parameters(scope, ())
        packed = requests.check_media_type(scope, (JSON, MSGPACK)) == MSGPACK
        body = await self._uploads.read(scope, receive, MAX_BODY_BYTES)
        items = _items(body, packed)
        # What is wrong by itself is answered so, and keeps nothing else back.
        made = [self._operation(item, access) for item in items]
        sound = [each for each in made if not isinstance(each, StoreError)]
        outcomes = iter(await self._directory.carry_out_all(sound) if sound else ())
        results = [
            _result(item, each if isinstance(each, StoreError) else next(outcomes), packed)
            for item, each in zip(items, made, strict=True)
        ]
        encode: Callable[[Any], bytes] = _encode_packed if packed else _encode_json
        reads = all(item.op == "get" for item in items)
        return HttpAnswer(200, encode({"results": results}), MSGPACK if packed else JSON, repeatable=reads)

    def _operation(self, item: Item, access: Access) -> Operation[Any] | StoreError:
        try:
            make = _MAKERS.get(item.op)
            if make is None:
                raise InvalidRequest(f"'op' is one of {', '.join(_MAKERS)}, not {item.op[:32]!r}")
            key = check_key(item.key)
            access.require("read" if make is _get else "write", key)
            operation = make(item, key)
            problem = operation.problem()
            if problem:
                raise InvalidRequest(problem)
            if operation.payload_bytes:
                self._uploads.check_size(operation.payload_bytes)
            return operation
        except StoreError as error:
            return error


def _items(body: bytes, packed: bool) -> list[Any]:
    try:
        items: list[Any] = (_decode_packed(body) if packed else _decode_json(body)).operations
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f'the body is not like {{"operations": [{{"op": "get", "key": "k"}}]}}: {error}') from None
    if not 1 <= len(items) <= MAX_BATCH:
        raise InvalidRequest(f"a batch has 1 to {MAX_BATCH:,} operations, not {len(items):,}")
    return items


def _get(item: Item, key: bytes) -> Get:
    return Get(key, condition=_condition(item))


def _put(item: Item, key: bytes) -> Put:
    value, given = item.value, item.value_base64
    if (value is None) == (given is None):
        raise InvalidRequest("a put has one of 'value' and 'value_base64'")
    ttl_ms, expires_ms = _expiry(item)
    content_type = item.content_type
    if content_type is None:
        content_type = TEXT_TYPE if isinstance(value, str) else DEFAULT_CONTENT_TYPE
    elif not (content_type.isascii() and content_type.isprintable()):
        raise InvalidRequest("'content_type' has characters that no header may have")
    raw: object = given if value is None else value
    if not isinstance(raw, bytes | str):
        raise InvalidRequest("a value is bytes or text")
    return Put(
        key,
        _utf8(raw) if isinstance(raw, str) else raw,
        content_type,
        ttl_ms,
        expires_ms,
        condition=_condition(item),
        **_repeats(item),
    )


def _delete(item: Item, key: bytes) -> Delete:
    return Delete(key, with_value=False, condition=_condition(item), **_repeats(item))


def _touch(item: Item, key: bytes) -> Touch:
    if item.ttl is None and item.expires_at is None:
        raise InvalidRequest("a touch has 'ttl' or 'expires_at'")
    return Touch(key, *_expiry(item), condition=_condition(item), **_repeats(item))


def _increment(item: Item, key: bytes) -> Increment:
    ttl_ms, expires_ms = _expiry(item)
    return Increment(key, item.by, ttl_ms, expires_ms, condition=_condition(item), **_repeats(item))


_MAKERS: dict[str, Callable[[Item, bytes], Operation[Any]]] = {
    "get": _get,
    "put": _put,
    "delete": _delete,
    "touch": _touch,
    "increment": _increment,
}


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("a text holds half of a surrogate pair") from None


def _repeats(item: Item) -> dict[str, Any]:
    """What makes it one that may be sent again, as a write's fields."""
    if item.idempotency_key is None:
        if item.idempotency_ttl is not None:
            raise InvalidRequest("'idempotency_ttl' is given without an 'idempotency_key'")
        return {}
    if not item.idempotency_key:
        raise InvalidRequest("'idempotency_key' is empty")
    remember_ms = 0
    if item.idempotency_ttl is not None:
        remember_ms = milliseconds_of(item.idempotency_ttl)
        if not 0 < remember_ms <= OUTCOMES_KEPT_MS:
            raise InvalidRequest(f"'idempotency_ttl' is more than 0 and at most {OUTCOMES_KEPT_MS // 1000} s")
    return {"idempotency_key": _utf8(item.idempotency_key), "remember_ms": remember_ms}


def _condition(item: Item) -> Condition | None:
    if item.if_match is None and item.if_none_match is None:
        return None
    named = ((b"if-match", item.if_match), (b"if-none-match", item.if_none_match))
    return condition_of([(name, _utf8(value)) for name, value in named if value is not None])


def _expiry(item: Item) -> tuple[int, int]:
    ttl_ms = 0 if item.ttl is None else milliseconds_of(item.ttl)
    at = item.expires_at
    expires_ms = 0
    if isinstance(at, str):
        expires_ms = 0 if at == NEVER.decode() else moment_ms(_utf8(at))
    elif at is not None:
        expires_ms = milliseconds_of(at)
    check_expiry(ttl_ms, expires_ms)
    return ttl_ms, expires_ms


def _result(item: Item, outcome: Routed[Any] | StoreError, packed: bool) -> Any:
    if isinstance(outcome, StoreError):
        return problems.described(outcome)
    answer = outcome.answer
    match answer:
        case Value():
            return _got(answer, packed)
        case Written():
            return {"status": 201 if answer.created else 200, "revision": answer.revision}
        case Deleted():
            return {"status": 204, "revision": answer.revision}
        case Touched():
            return {"status": 200, "expires": shown_moment(answer.expires_ms), "revision": answer.revision}
        case Counted():
            return {"status": 200, "value": answer.value, "revision": answer.revision}
        case NotMet(unchanged=True):
            return {"status": 304, "revision": answer.revision}
        case NotMet():
            return problems.described(condition_failed(item.key.encode(), answer.revision))
        case Missing():
            return problems.described(not_found(item.key.encode()))
    raise AssertionError(f"{item.op} answered with {answer!r:.80}")


def _got(found: Value, packed: bool) -> Got:
    value: str | bytes | None = found.value
    raw: bytes | None = None
    if not packed:
        try:
            value = found.value.decode()
        except UnicodeDecodeError:
            value, raw = None, found.value
    content_type = found.content_type or DEFAULT_CONTENT_TYPE
    modified, expires = shown_moment(found.modified_ms), shown_moment(found.expires_ms)
    return Got(200, found.revision, content_type, modified, expires, value, raw)
