"""What a client's arguments ask for, as operations; and answers as the client tells them."""

from __future__ import annotations

import itertools
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from cloud_storage import calls, errors
from cloud_storage.calls import Ttl
from cloud_storage.records import Listed, Record
from serve_app.directory.listing import Question
from serve_app.operations import Delete, Get, Head, Increment, Put, Touch, Value, WriteOperation
from serve_app.operations.condition import ANY, MAX_REVISION, Condition
from serve_app.operations.expiry import problem_of
from serve_app.record_bounds import MAX_KEY_BYTES, MAX_VALUE_BYTES
from serve_app.wire.messages import Entry

DEFAULT_CONTENT_TYPE = calls.BYTES_TYPE
W = TypeVar("W", bound=WriteOperation[Any])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ONLY_WHERE_NONE = Condition(if_none_match=(ANY,))


def key_of(key: str) -> bytes:
    """Raises InvalidRequest; and UnicodeEncodeError, a ValueError, where it is no Unicode text."""
    raw = key.encode()
    if not 0 < len(raw) <= MAX_KEY_BYTES:
        raise errors.InvalidRequest(f"a key has 1 to {MAX_KEY_BYTES:,} bytes; this one has {len(raw):,}")
    return raw


def prefix_of(prefix: str, what: str = "a prefix") -> bytes:
    """What names begin with, or the like. Raises as `key_of`."""
    raw = prefix.encode()
    if len(raw) > MAX_KEY_BYTES:
        raise errors.InvalidRequest(f"{what} has at most {MAX_KEY_BYTES:,} bytes")
    return raw


def question(prefix: str, delimiter: str, start_after: str, limit: int, values: bool) -> Question:
    """Raises InvalidRequest."""
    start = prefix_of(start_after, "a start")
    return Question(prefix_of(prefix), start, prefix_of(delimiter, "a delimiter"), limit, values)


class Requests:
    """Makes a client's operations. Each write has a name, by which it happens once however often it is sent."""

    def __init__(self, remember_s: float) -> None:
        """remember_s: for how long a write may be sent again."""
        self._remember_ms = int(remember_s * 1000)
        # Random once: to draw each name takes as long as the rest of making a request.
        self._names = map((secrets.token_hex(12).encode() + b"-%x").__mod__, itertools.count())

    @staticmethod
    def get(key: str) -> Get:
        return Get(key_of(key))

    @staticmethod
    def head(key: str) -> Head:
        return Head(key_of(key), as_json=False)

    def put(
        self,
        key: str,
        value: calls.Value,
        content_type: str | None,
        ttl: Ttl | None,
        expires_at: datetime | None,
        *,
        create: bool = False,
        revision: int | None = None,
    ) -> Put:
        """Raises InvalidRequest, ValueTooLarge, ValueError."""
        raw = calls.raw(value)
        if len(raw) > MAX_VALUE_BYTES:
            raise errors.ValueTooLarge(f"a value has at most {MAX_VALUE_BYTES:,} bytes; this one has {len(raw):,}")
        kind = calls.checked_type(content_type) or calls.type_of(value)
        ttl_ms, expires_ms = expiry_of(ttl, expires_at)
        condition = _ONLY_WHERE_NONE if create else _only_over(revision)
        operation = Put(key_of(key), raw, kind, ttl_ms, expires_ms, condition=condition, **self._named())
        return _checked(operation) if content_type is not None else operation

    def delete(self, key: str, revision: int | None = None) -> Delete:
        return Delete(key_of(key), with_value=False, condition=_only_over(revision), **self._named())

    def touch(self, key: str, ttl: Ttl | None, expires_at: datetime | None) -> Touch:
        return Touch(key_of(key), *expiry_of(ttl, expires_at), **self._named())

    def increment(self, key: str, by: int, ttl: Ttl | None) -> Increment:
        by = calls.whole(by, "what is added")
        return _checked(Increment(key_of(key), by, expiry_of(ttl, None)[0], **self._named()))

    def _named(self) -> dict[str, Any]:
        return {"idempotency_key": next(self._names), "remember_ms": self._remember_ms}


def _checked(operation: W) -> W:
    problem = operation.problem()
    if problem:
        raise errors.InvalidRequest(problem)
    return operation


def _only_over(revision: int | None) -> Condition | None:
    if revision is None:
        return None
    # What is no revision matches nothing; ANY is none either.
    calls.whole(revision, calls.REVISION)
    return Condition(if_match=(revision,) if 0 < revision <= MAX_REVISION else ())


def expiry_of(ttl: Ttl | None, expires_at: datetime | None) -> tuple[int, int]:
    """`(ttl_ms, expires_ms)`; 0 where one is not given. Raises InvalidRequest, ValueError."""
    if ttl is None and expires_at is None:
        return 0, 0
    calls.expiry(ttl, expires_at)  # what is a mistake of the program there is one here
    if ttl is not None:
        ttl_ms = round(calls.seconds(ttl) * 1000)
        if ttl_ms <= 0:
            raise errors.InvalidRequest("a time to live is a number of seconds above 0, such as 60 or 0.5")
        expires_ms = 0
    else:
        assert expires_at is not None, "one of them is given"
        ttl_ms, expires_ms = 0, (expires_at - _EPOCH) // _MILLISECOND
        if expires_ms <= 0:
            raise errors.InvalidRequest("the time of expiry has passed")
    problem = problem_of(ttl_ms, expires_ms)
    if problem:
        raise errors.InvalidRequest(problem)
    return ttl_ms, expires_ms


def record(key: str, found: Value) -> Record:
    return Record(
        key,
        found.value,
        found.revision,
        found.content_type or DEFAULT_CONTENT_TYPE,
        moment(found.modified_ms),
        moment(found.expires_ms),
    )


def listed(entry: Entry, with_value: bool) -> Listed:
    return Listed(
        entry.key.decode(),
        False,
        entry.revision,
        entry.size,
        entry.content_type or DEFAULT_CONTENT_TYPE,
        moment(entry.modified_ms),
        moment(entry.expires_ms),
        entry.value if with_value else None,
    )


def moment(ms: int) -> datetime | None:
    """None for 0, which is no time."""
    return _EPOCH + ms * _MILLISECOND if ms else None
