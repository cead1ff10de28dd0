"""Commands on values: `GET`, `SET` and those like them, parts of values, and numbers."""

from __future__ import annotations

from collections.abc import Sequence

from serve_app.errors import NumberOverflow, StoreError
from serve_app.operations import (
    Counted,
    Delete,
    Deleted,
    Described,
    Expire,
    Get,
    Head,
    Increment,
    IncrementDecimal,
    Missing,
    NotMet,
    Put,
    Sized,
    Splice,
    Swap,
    Swapped,
    Value,
    Written,
)
from serve_app.operations.condition import ANY, Condition
from serve_app.operations.increment import CONTENT_TYPE as TEXT
from serve_app.operations.increment_decimal import is_decimal, is_infinite
from serve_app.operations.swap import ALWAYS, WHERE_NONE, WHERE_THERE
from serve_app.records import is_text
from serve_app.redis import expiring, replies
from serve_app.redis.command import (
    LOWEST,
    Arguments,
    Asked,
    Command,
    Handled,
    Outcome,
    Wrong,
    integer_in,
    key_of,
    single,
    summed_up,
)
from serve_app.redis.session import Session

_BYTES = "application/octet-stream"
_ONLY_WHERE_NONE, _ONLY_WHERE_THERE = Condition(if_none_match=(ANY,)), Condition(if_match=(ANY,))


def content_type_of(value: bytes) -> str:
    """Redis' values have none: it is what other faces of the store show."""
    return TEXT if is_text(value) else _BYTES


def get(session: Session, words: Arguments) -> Handled:
    nil = replies.nil(session.resp3)
    return single(Get(key_of(session, words[1], "read")), lambda answer: _value_or(answer, nil))


def _value_or(answer: object, nil: bytes) -> bytes:
    return replies.bulk(answer.value) if isinstance(answer, Value | Deleted) else nil


def mget(session: Session, words: Arguments) -> Handled:
    nil = replies.nil(session.resp3)

    def reply(outcomes: Sequence[Outcome]) -> bytes:
        return summed_up(outcomes) or replies.array([_value_or(answer, nil) for answer in outcomes])

    return Asked([Get(key_of(session, raw, "read")) for raw in words[1:]], reply)


def set_(session: Session, words: Arguments) -> Handled:
    key, value = key_of(session, words[1], "write"), _checked(session, words[2])
    if len(words) == 3:
        return single(Put(key, value, content_type_of(value)), lambda _: replies.OK)
    with_old = keeps = False
    when: int = ALWAYS
    by = expires = b""
    at = 3
    while at < len(words):
        option = words[at].upper()
        if option == b"NX" and when != WHERE_THERE:
            when = WHERE_NONE
        elif option == b"XX" and when != WHERE_NONE:
            when = WHERE_THERE
        elif option == b"GET":
            with_old = True
        elif option == b"KEEPTTL" and not by:
            keeps = True
        elif option in expiring.OPTIONS and by in (b"", option) and not keeps and at + 1 < len(words):
            at += 1
            by, expires = option, words[at]
        else:
            raise Wrong(replies.SYNTAX)
        at += 1
    if with_old:
        session.access.require("read", key)
    expiry = expiring.of_option(by, expires, "set", session.face.now_ms()) if by else None
    return _stored(session, key, value, when, expiry, with_old=with_old, keeps=keeps)


def _stored(
    session: Session,
    key: bytes,
    value: bytes,
    when: int = ALWAYS,
    expiry: expiring.Expiry | None = None,
    *,
    with_old: bool = False,
    keeps: bool = False,
) -> Asked:
    nil = replies.nil(session.resp3)
    ttl_ms, expires_ms = (0, 0) if expiry is None else (expiry.ttl_ms, expiry.expires_ms)
    kind = content_type_of(value)
    condition = (None, _ONLY_WHERE_NONE, _ONLY_WHERE_THERE)[when]
    if 0 < expires_ms <= session.face.now_ms():  # it is there for no time at all
        if with_old and when == WHERE_NONE:
            return single(Get(key), lambda answer: _value_or(answer, nil))

        def gone(answer: object) -> bytes:
            if with_old:
                return _value_or(answer, nil)
            missed = isinstance(answer, NotMet) or (when == WHERE_THERE and isinstance(answer, Missing))
            return nil if missed else replies.OK

        return single(Delete(key, with_value=with_old, condition=condition), gone)
    if not with_old and not keeps:
        put = Put(key, value, kind, ttl_ms, expires_ms, condition=condition)
        return single(put, lambda answer: nil if isinstance(answer, NotMet) else replies.OK)

    def reply(answer: Swapped) -> bytes:
        if with_old:
            return replies.bulk(answer.value) if answer.existed else nil
        return replies.OK if answer.stored else nil

    return single(Swap(key, value, kind, ttl_ms, expires_ms, keep_expiry=keeps, when=when, with_value=with_old), reply)


def setnx(session: Session, words: Arguments) -> Handled:
    key, value = key_of(session, words[1], "write"), _checked(session, words[2])
    put = Put(key, value, content_type_of(value), condition=_ONLY_WHERE_NONE)
    return single(put, lambda answer: replies.ONE if isinstance(answer, Written) else replies.ZERO)


def setex(session: Session, words: Arguments) -> Handled:
    name = words[0].decode().lower()
    option = b"EX" if name == "setex" else b"PX"
    key, value = key_of(session, words[1], "write"), _checked(session, words[3])
    return _stored(session, key, value, expiry=expiring.of_option(option, words[2], name, session.face.now_ms()))


def getset(session: Session, words: Arguments) -> Handled:
    key, value = key_of(session, words[1], "write"), _checked(session, words[2])
    session.access.require("read", key)
    return _stored(session, key, value, with_old=True)


def getdel(session: Session, words: Arguments) -> Handled:
    key, nil = key_of(session, words[1], "write"), replies.nil(session.resp3)
    session.access.require("read", key)
    return single(Delete(key), lambda answer: _value_or(answer, nil))


def getex(session: Session, words: Arguments) -> Handled:
    if len(words) == 2:
        return get(session, words)
    key, nil = key_of(session, words[1], "write"), replies.nil(session.resp3)
    session.access.require("read", key)
    option = words[2].upper()
    if option == b"PERSIST" and len(words) == 3:
        operation = Expire(key, with_value=True)
    elif option in expiring.OPTIONS and len(words) == 4:
        try:
            expiry = expiring.of_option(option, words[3], "getex", session.face.now_ms())
        except Wrong as wrong:  # which Redis says only where there is such a key
            refusal = wrong.reply
            return single(Get(key), lambda answer: refusal if isinstance(answer, Value) else nil)
        operation = Expire(key, expiry.ttl_ms, expiry.expires_ms, with_value=True)
    else:
        raise Wrong(replies.SYNTAX)
    return single(operation, lambda answer: _value_or(answer, nil))


def mset(session: Session, words: Arguments) -> Handled:
    if len(words) % 2 == 0:
        raise Wrong(replies.error("ERR wrong number of arguments for 'mset' command"))
    puts = [
        Put(key_of(session, raw, "write"), value := _checked(session, words[2 * number + 2]), content_type_of(value))
        for number, raw in enumerate(words[1::2])
    ]
    return Asked(puts, lambda outcomes: summed_up(outcomes) or replies.OK)


def strlen(session: Session, words: Arguments) -> Handled:
    head = Head(key_of(session, words[1], "read"), as_json=False)
    return single(head, lambda answer: replies.integer(answer.size) if isinstance(answer, Described) else replies.ZERO)


def getrange(session: Session, words: Arguments) -> Handled:
    start, end = integer_in(words[2]), integer_in(words[3])

    def reply(answer: object) -> bytes:
        return replies.bulk(part_of(answer.value, start, end) if isinstance(answer, Value) else b"")

    return single(Get(key_of(session, words[1], "read")), reply)


def part_of(value: bytes, start: int, end: int) -> bytes:
    """From one byte to another, both included; negative ones are counted from behind.

    >>> part_of(b"Hello World", 0, 4), part_of(b"Hello World", -5, -1), part_of(b"Hello World", 5, 3)
    (b'Hello', b'World', b'')
    """
    if start < 0 and end < 0 and start > end:
        return b""
    size = len(value)
    start = max(0, start + size) if start < 0 else start
    end = max(0, end + size) if end < 0 else end
    return value[start : end + 1]


def append(session: Session, words: Arguments) -> Handled:
    value = _checked(session, words[2])
    splice = Splice(
        key_of(session, words[1], "write"), value, content_type_of(value), max_bytes=session.face.max_value_bytes
    )
    return single(splice, _size_of)


def setrange(session: Session, words: Arguments) -> Handled:
    at, value = integer_in(words[2]), words[3]
    if at < 0:
        raise Wrong(replies.error("ERR offset is out of range"))
    key = key_of(session, words[1], "write")
    max_bytes = session.face.max_value_bytes
    if value and at + len(value) > max_bytes:
        raise Wrong(replies.TOO_LONG)
    splice = Splice(key, value, content_type_of(value) if not at else _BYTES, at, max_bytes)
    return single(splice, _size_of)


def _size_of(answer: Sized) -> bytes:
    return replies.integer(answer.size)


def incr(session: Session, words: Arguments) -> Handled:
    name = words[0].upper()
    by = 1 if len(words) == 2 else integer_in(words[2])
    if name.startswith(b"DECR"):
        if by == LOWEST:
            raise Wrong(replies.error("ERR decrement would overflow"))
        by = -by

    def reply(answer: Counted) -> bytes:
        return replies.integer(answer.value)

    return single(Increment(key_of(session, words[1], "write"), by), reply)


def incrbyfloat(session: Session, words: Arguments) -> Handled:
    if not is_decimal(words[2]):
        raise Wrong(replies.NO_SUM if is_infinite(words[2]) else replies.NOT_A_FLOAT)

    def reply(outcomes: Sequence[Outcome]) -> bytes:
        (outcome,) = outcomes
        if isinstance(outcome, NumberOverflow):
            return replies.NO_SUM
        return replies.of_error(outcome) if isinstance(outcome, StoreError) else replies.bulk(outcome.value)

    return Asked((IncrementDecimal(key_of(session, words[1], "write"), words[2]),), reply)


def _checked(session: Session, value: bytes) -> bytes:
    if len(value) > session.face.max_value_bytes:
        raise Wrong(replies.TOO_LONG)
    return value


_R, _W, _SLOW = ("readonly", "fast"), ("write", "denyoom", "fast"), ("write", "denyoom")
COMMANDS = (
    Command("get", 2, get, _R, 1, 1, 1),
    Command("mget", -2, mget, _R, 1, -1, 1),
    Command("set", -3, set_, _SLOW, 1, 1, 1),
    Command("setnx", 3, setnx, _W, 1, 1, 1),
    Command("setex", 4, setex, _SLOW, 1, 1, 1),
    Command("psetex", 4, setex, _SLOW, 1, 1, 1),
    Command("getset", 3, getset, _W, 1, 1, 1),
    Command("getdel", 2, getdel, ("write", "fast"), 1, 1, 1),
    Command("getex", -2, getex, ("write", "fast"), 1, 1, 1),
    Command("mset", -3, mset, _SLOW, 1, -1, 2),
    Command("strlen", 2, strlen, _R, 1, 1, 1),
    Command("getrange", 4, getrange, ("readonly",), 1, 1, 1),
    Command("substr", 4, getrange, ("readonly",), 1, 1, 1),
    Command("append", 3, append, _W, 1, 1, 1),
    Command("setrange", 4, setrange, _SLOW, 1, 1, 1),
    Command("incr", 2, incr, _W, 1, 1, 1),
    Command("incrby", 3, incr, _W, 1, 1, 1),
    Command("decr", 2, incr, _W, 1, 1, 1),
    Command("decrby", 3, incr, _W, 1, 1, 1),
    Command("incrbyfloat", 3, incrbyfloat, _W, 1, 1, 1),
)
