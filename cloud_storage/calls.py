"""Each operation on one key as a call: the request, and what its answer means."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import quote, urlencode

from cloud_storage import answers
from cloud_storage.errors import InvalidRequest, StoreError
from cloud_storage.exchange import Call, Request, Response
from cloud_storage.records import Record, Written

T = TypeVar("T")
Value = bytes | bytearray | memoryview | str
#: Seconds, or a duration.
Ttl = float | timedelta
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
REVISION = "a revision"
#: Of an empty value no range can be read.
_EMPTY = "range-not-satisfiable"
TEXT_TYPE, BYTES_TYPE = "text/plain; charset=utf-8", "application/octet-stream"


def get(key: str) -> Call[Record | None]:
    return Call(Request("GET", _kv(key)), _unless_missing(lambda response: _record(key, response)))


def exists(key: str) -> Call[bool]:
    def read(response: Response) -> bool:
        problem = answers.problem_of(response)
        if problem is not None and answers.kind_of(problem) not in (answers.KEY_NOT_FOUND, _EMPTY):
            raise failure(response)
        return problem is None or answers.kind_of(problem) == _EMPTY

    # Not a HEAD: its refusal has no body that says whose it is.
    return Call(Request("GET", _kv(key), {"Range": "bytes=0-0"}), read)


def put(
    key: str,
    value: Value,
    *,
    content_type: str | None = None,
    ttl: Ttl | None = None,
    expires_at: datetime | None = None,
    create: bool = False,
    revision: int | None = None,
) -> Call[Written]:
    """create: only where there is no record. revision: only over the record that has it."""
    kind = checked_type(content_type) or type_of(value)
    headers = {"Content-Type": kind, "Idempotency-Key": new_name(), **_if_match(revision)}
    if create:
        headers["If-None-Match"] = "*"
    request = Request("PUT", _kv(key, expiry(ttl, expires_at)), headers, raw(value), writes=True)
    return Call(request, else_raise({200, 201}, _written))


def delete(key: str, *, revision: int | None = None) -> Call[bool]:
    """Whether there was one."""
    headers = {"Idempotency-Key": new_name(), **_if_match(revision)}
    return Call(Request("DELETE", _kv(key), headers, writes=True), _whether(204))


def touch(key: str, *, ttl: Ttl | None = None, expires_at: datetime | None = None) -> Call[bool]:
    """Whether there is one. With neither it is to stay for ever."""
    when = expiry(ttl, expires_at) or {"expires_at": "never"}
    where = target("/v1/touch", {"key": key, **when})
    return Call(Request("POST", where, {"Idempotency-Key": new_name()}, writes=True), _whether(200))


def increment(key: str, by: int = 1, *, ttl: Ttl | None = None) -> Call[int]:
    """The number there is then. ttl: of a record that is made by this."""
    body: dict[str, object] = {"by": whole(by, "what is added")}
    if ttl is not None:
        body["ttl"] = seconds(ttl)
    headers = {"Idempotency-Key": new_name(), "Content-Type": "application/json"}
    request = Request("POST", target("/v1/increment", {"key": key}), headers, json.dumps(body).encode(), writes=True)
    return Call(request, else_raise({200}, lambda response: int(json.loads(response.body)["value"])))


def new_name() -> str:
    """An idempotency key: 128 random bits."""
    return secrets.token_hex(16)


def raw(value: Value) -> bytes:
    """What is stored. Raises TypeError: it is no bytes and no text."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"a value is bytes or text, not {type(value).__name__}: a mapping has a codec for other things")


def type_of(value: Value) -> str:
    """Of a value whose type nobody names."""
    return TEXT_TYPE if isinstance(value, str) else BYTES_TYPE


def checked_type(content_type: str | None) -> str | None:
    """Raises InvalidRequest: no header can hold it."""
    if content_type and not (content_type.isascii() and content_type.isprintable()):
        raise InvalidRequest(f"{content_type!r:.100} is no content type: it has characters that no header may have")
    return content_type


def seconds(ttl: Ttl) -> float:
    """Raises ValueError: it is no number."""
    found = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if not math.isfinite(found):
        raise ValueError(f"a time to live is a number of seconds, not {ttl!r}")
    return found


def whole(number: int, what: str) -> int:
    """Raises TypeError: it is no whole number. None is none either: a replacement without a revision is a put."""
    if type(number) is not int:
        raise TypeError(f"{what} is a whole number, not {number!r:.80}")
    return number


def expiry(ttl: Ttl | None, expires_at: datetime | None) -> dict[str, str]:
    """As parameters. Raises ValueError: both are given, or a moment without a time zone."""
    if ttl is not None and expires_at is not None:
        raise ValueError("a record has a time to live or a time of expiry, not both")
    if ttl is not None:
        return {"ttl": f"{seconds(ttl):.3f}".rstrip("0").rstrip(".")}
    if expires_at is not None:
        if expires_at.tzinfo is None:
            raise ValueError("expires_at needs a time zone: datetime.now(UTC) + …")
        return {"expires_at": f"{expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"}
    return {}


def target(path: str, parameters: dict[str, str]) -> str:
    """A path and the parameters of its query, if any."""
    return f"{path}?{urlencode(parameters, quote_via=quote, safe='/:')}" if parameters else path


def moment(text: str | None) -> datetime | None:
    """As RFC 3339 writes it."""
    return None if text is None else datetime.fromisoformat(text)


def _kv(key: str, more: dict[str, str] | None = None) -> str:
    # In the query every key is itself: in a path `..` and `//` are something else for much that is on the way.
    return target("/v1/kv", {"key": key, **(more or {})})


def _if_match(revision: int | None) -> dict[str, str]:
    return {} if revision is None else {"If-Match": f'"{whole(revision, REVISION)}"'}


def _record(key: str, response: Response) -> Record:
    headers = response.headers
    modified = headers.get("last-modified")
    return Record(
        key,
        response.body,
        answers.revision_of(headers),
        headers.get("content-type", ""),
        None if modified is None else _http_date(modified),
        moment(headers.get("expires-at")),
    )


def _http_date(text: str) -> datetime:
    """As the store writes it (RFC 9110, 5.6.7: IMF-fixdate). Raises ValueError."""
    day, month, year, clock = text[5:7], text[8:11], text[12:16], text[17:25]
    number = _MONTHS.find(month) // 3 + 1
    return datetime(int(year), number, int(day), int(clock[:2]), int(clock[3:5]), int(clock[6:]), tzinfo=UTC)


def _written(response: Response) -> Written:
    return Written(answers.revision_of(response.headers), response.status == 201)


def failure(response: Response) -> StoreError:
    """The error that a response is."""
    problem = answers.problem_of(response)
    if problem is None:
        return StoreError(f"the store answered with status {response.status}, which is not expected")
    return answers.error_of(problem, answers.revision_of(response.headers))


def else_raise(statuses: set[int], read: Callable[[Response], T]) -> Callable[[Response], T]:
    """What reads a response of one of these statuses, and raises the error that another one is."""

    def reading(response: Response) -> T:
        if response.status not in statuses:
            raise failure(response)
        return read(response)

    return reading


def _whether(status: int) -> Callable[[Response], bool]:
    """True of that status, False where no record has the key."""
    read = _unless_missing(else_raise({status}, lambda _: True))
    return lambda response: bool(read(response))


def _unless_missing(read: Callable[[Response], T]) -> Callable[[Response], T | None]:
    def reading(response: Response) -> T | None:
        problem = answers.problem_of(response)
        if problem is not None:
            if answers.kind_of(problem) == answers.KEY_NOT_FOUND:
                return None
            raise failure(response)
        return read(response)

    return reading
