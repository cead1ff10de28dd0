"""Commands on keys, whatever their values: deleting, expiry, and finding out which there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serve_app.operations import Delete, Deleted, Described, Expire, Head, Touched
from serve_app.operations.expire import (
    ANY_EXPIRY,
    WHERE_EARLIER,
    WHERE_EXPIRING,
    WHERE_EXPIRING_LATER,
    WHERE_LATER,
    WHERE_NEVER,
)
from serve_app.operations.expiry import MAX_TIME_MS
from serve_app.redis import expiring, replies
from serve_app.redis.command import (
    HIGHEST,
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

_NO_KEY, _NEVER = -2, -1


def delete(session: Session, words: Arguments) -> Handled:
    keys = dict.fromkeys(key_of(session, raw, "write") for raw in words[1:])
    return Asked([Delete(key, with_value=False) for key in keys], _counting(Deleted))


def exists(session: Session, words: Arguments) -> Handled:
    """A key that is named twice counts twice."""
    return Asked([Head(key_of(session, raw, "read"), as_json=False) for raw in words[1:]], _counting(Described))


def _counting(kind: type) -> Callable[[Sequence[Outcome]], bytes]:
    def reply(outcomes: Sequence[Outcome]) -> bytes:
        return summed_up(outcomes) or replies.integer(sum(isinstance(outcome, kind) for outcome in outcomes))

    return reply


def type_(session: Session, words: Arguments) -> Handled:
    head = Head(key_of(session, words[1], "read"), as_json=False)
    return single(head, lambda answer: b"+string\r\n" if isinstance(answer, Described) else b"+none\r\n")


_ONLY = {b"NX": WHERE_NEVER, b"XX": WHERE_EXPIRING, b"GT": WHERE_EARLIER, b"LT": WHERE_LATER}
#: By command: milliseconds of a unit, and whether it counts from now.
_EXPIRES = {"expire": (1000, True), "pexpire": (1, True), "expireat": (1000, False), "pexpireat": (1, False)}


def expire(session: Session, words: Arguments) -> Handled:
    name = words[0].decode().lower()
    key = key_of(session, words[1], "write")
    unit_ms, from_now = _EXPIRES[name]
    only = _only(words[3:])
    ms = integer_in(words[2]) * unit_ms
    now_ms = session.face.now_ms()
    if not LOWEST <= ms <= HIGHEST - (now_ms if from_now else 0):
        raise Wrong(replies.error(f"ERR invalid expire time in '{name}' command"))
    # A bucket counts from its own clock: what is in the future by the directory's is said as it came.
    if from_now and ms > 0:
        ttl_ms, at_ms = expiring.after(ms, now_ms)
    else:
        ttl_ms, at_ms = 0, 1 if from_now else max(1, min(ms, MAX_TIME_MS))
    operation = Expire(key, ttl_ms, at_ms, only=only)
    return single(operation, lambda answer: replies.ONE if isinstance(answer, Touched | Deleted) else replies.ZERO)


def _only(options: Arguments) -> int:
    """Which records are meant."""
    given = {option.upper() for option in options}
    for option in options:
        if option.upper() not in _ONLY:
            raise Wrong(replies.error(f"ERR Unsupported option {option[:128].decode('utf-8', 'replace')}"))
    if b"NX" in given and len(given) > 1:
        raise Wrong(replies.error("ERR NX and XX, GT or LT options at the same time are not compatible"))
    if {b"GT", b"LT"} <= given:
        raise Wrong(replies.error("ERR GT and LT options at the same time are not compatible"))
    if b"GT" in given:  # of what never expires nothing is later, so XX says no more
        return WHERE_EARLIER
    if b"LT" in given:
        return WHERE_EXPIRING_LATER if b"XX" in given else WHERE_LATER
    return next((_ONLY[option] for option in given), ANY_EXPIRY)


def ttl(session: Session, words: Arguments) -> Handled:
    name = words[0].upper()

    def reply(answer: object) -> bytes:
        if not isinstance(answer, Described):
            return replies.integer(_NO_KEY)
        if not answer.expires_ms:
            return replies.integer(_NEVER)
        left_ms = max(0, answer.expires_ms - session.face.now_ms())
        by_name = {
            b"TTL": (left_ms + 500) // 1000,
            b"PTTL": left_ms,
            b"EXPIRETIME": (answer.expires_ms + 500) // 1000,
            b"PEXPIRETIME": answer.expires_ms,
        }
        return replies.integer(by_name[name])

    return single(Head(key_of(session, words[1], "read"), as_json=False), reply)


def persist(session: Session, words: Arguments) -> Handled:
    operation = Expire(key_of(session, words[1], "write"), only=WHERE_EXPIRING)
    return single(operation, lambda answer: replies.ONE if isinstance(answer, Touched) else replies.ZERO)


_W = ("write", "fast")
_R = ("readonly", "fast")
COMMANDS = (
    Command("del", -2, delete, ("write",), 1, -1, 1),
    Command("unlink", -2, delete, _W, 1, -1, 1),
    Command("exists", -2, exists, _R, 1, -1, 1),
    Command("touch", -2, exists, _R, 1, -1, 1),
    Command("type", 2, type_, _R, 1, 1, 1),
    *(Command(name, -3, expire, _W, 1, 1, 1) for name in _EXPIRES),
    *(Command(name, 2, ttl, _R, 1, 1, 1) for name in ("ttl", "pttl", "expiretime", "pexpiretime")),
    Command("persist", 2, persist, _W, 1, 1, 1),
)
