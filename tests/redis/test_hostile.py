"""What a hostile client found: each of these cost others, or did not end as it should."""

from __future__ import annotations

import socket
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import redis

from serve_app.auth.secret import digest_of
from serve_app.auth.tokens import Tokens
from serve_app.redis import table
from serve_app.redis.command import Command
from serve_app.redis.connection import Connection
from serve_app.settings import Limits
from tests.redis.faced import Faced, connected
from tests.redis.test_connections import left, received
from tests.support.waiting import until

MIB = 1024 * 1024


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def answered(sock: socket.socket, *words: bytes, end: bytes = b"\r\n") -> bytes:
    sock.sendall(command(*words))
    return received(sock, end)


def test_a_mistake_in_a_command_costs_nobody_else_an_answer(faced: Faced, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(session: Any, words: Any) -> Any:
        raise ValueError

    monkeypatch.setitem(table.EVERY, b"TIME", Command("time", 1, mistaken))
    with faced.connected() as bad, connected(port=faced.port) as good:
        good.set("k", "v")
        for _ in range(20):
            bad.sendall(command(b"GET", b"k") * 500 + command(b"TIME"))
            assert received(bad, b"its log says more\r\n").count(b"$1\r\nv\r\n") == 500
            assert good.get("k") == b"v"
    assert all(lane._under_way == 0 for lane in faced.face.gathering._lanes.values())


def test_numbers_of_any_length_are_answered(faced: Faced) -> None:
    with faced.connected() as sock:
        assert answered(sock, b"FLUSHALL") == b"+OK\r\n"
        assert answered(sock, b"SCAN", b"0" * 5000, end=b"*0\r\n").startswith(b"*2")
        assert b"invalid cursor" in answered(sock, b"SCAN", b"1" * 5000)
        assert b"invalid cursor" in answered(sock, b"SCAN", b"%d" % 2**64)
        for words in ((b"INCRBY", b"n", b"9" * 5000), (b"EXPIRE", b"n", b"1" * 5000), (b"SELECT", b"1" * 5000)):
            assert b"not an integer" in answered(sock, *words)


def test_no_number_is_too_large_to_be_answered(faced: Faced) -> None:
    """One that can't be counted with would end its bucket."""
    with faced.connected() as sock:
        for value, by in ((b"1e500", b"1"), (b"1", b"1e500"), (b"9" * 500, b"1e-999"), (b"0", b"-1e510")):
            assert answered(sock, b"SET", b"f", value) == b"+OK\r\n"
            sock.sendall(command(b"INCRBYFLOAT", b"f", by) + command(b"STRLEN", b"f"))
            told = received(sock, b"\r\n:%d\r\n" % len(value := _sum(value, by)))
            assert told == b"$%d\r\n%b\r\n:%d\r\n" % (len(value), value, len(value))
        for value, by in (
            (b"9" * 500 + b"e999", b"1"), (b"1", b"9" * 500 + b"e999"), (b"1e512", b"0"), (b"1e999", b"-1e999"),
            (b"-" + b"9" * 512, b"-1"),
        ):  # fmt: skip
            assert answered(sock, b"SET", b"f", value) == b"+OK\r\n"
            assert answered(sock, b"INCRBYFLOAT", b"f", by).startswith((b"-ERR increment would", b"-ERR value is not"))
            assert answered(sock, b"STRLEN", b"f") == b":%d\r\n" % len(value)
    assert faced.store.buckets[0].failures == faced.store.buckets[1].failures == []


def _sum(value: bytes, by: bytes) -> bytes:
    total = Fraction(value.decode()) + Fraction(by.decode())
    digits = round(total * 10**17)
    whole, rest = divmod(abs(digits), 10**17)
    return f"{'-' if digits < 0 else ''}{whole}.{rest:017}".rstrip("0").rstrip(".").encode()


@pytest.mark.parametrize("one", [command(b"ECHO", b"x" * MIB), b"A\n" * 100_000])
def test_commands_that_wait_are_few(faced: Faced, one: bytes) -> None:
    """Beyond that nothing is read: the system's buffers are full then."""
    with connected(port=faced.port) as client:
        client.set("large", "x" * MIB)
    sock = faced.connected()
    sock.sendall(command(b"GET", b"large") * 30)  # whose answers are not read
    sock.setblocking(False)
    sent = 0
    until(lambda: faced.face.held_out_bytes > 0)
    for _ in range(2000):
        try:
            sent += sock.send(one)
        except BlockingIOError:
            break
    until(lambda: all(each._reading_paused for each in own(faced)))
    assert all(each._waiting_bytes < 40 * MIB for each in own(faced))
    assert sent < 64 * MIB
    sock.close()


def own(faced: Faced) -> list[Connection]:
    """Those that wait for something."""
    return [each for each in faced.face._connections if each._busy or each._queue]


def test_what_is_asked_at_once_is_bounded(faced: Faced) -> None:
    with faced.connected() as sock:
        assert b"at most 5,000 keys" in answered(sock, b"MGET", *[b"k"] * 5001)
        assert answered(sock, b"MGET", *[b"none"] * 5000, end=b"$-1\r\n" * 5000).startswith(b"*5000\r\n")
        assert b"at most 32,768 words" in answered(sock, b"COMMAND", b"DOCS", *[b"get"] * 40_000)
        assert answered(sock, b"MSET", *[b"k", b"v"] * 10_000) == b"+OK\r\n"
        assert b"too many patterns" in answered(sock, b"CONFIG", b"GET", *[b"a*"] * 100)
        assert b"too many patterns" in answered(sock, b"CONFIG", b"GET", b"?" * 200)
        for words in ((b"KEYS", b"*" * 5000), (b"SCAN", b"0", b"MATCH", b"a" * 5000)):
            assert b"a pattern has at most 4,096 bytes" in answered(sock, *words)
        assert answered(sock, b"KEYS", b"a" * 2000) == b"*0\r\n"


def test_a_write_that_is_refused_as_too_long_stays_undone(faced: Faced) -> None:
    full = b"x" * faced.face.max_value_bytes
    with faced.connected() as sock:
        for write in (command(b"APPEND", b"k", b"y"), command(b"SETRANGE", b"k", b"%d" % len(full), b"y")):
            assert answered(sock, b"SET", b"k", full) == b"+OK\r\n"
            sock.sendall(write + b"DEL k\r\nEXISTS k\r\n")
            assert received(sock, b":0\r\n").endswith(b"(proto-max-bulk-len)\r\n:1\r\n:0\r\n")


def test_a_hello_that_is_refused_changes_nothing(faced: Faced) -> None:
    with faced.connected() as sock:
        for more in ((b"SETNAME", b"a b"), (b"NONSENSE",), (b"AUTH", b"somebody", b"x")):
            assert answered(sock, b"HELLO", b"3", *more).startswith(b"-")
            assert answered(sock, b"GET", b"none") == b"$-1\r\n"
            assert answered(sock, b"CLIENT", b"GETNAME") == b"$-1\r\n"


def test_what_expired_long_ago_is_gone_at_once(faced: Faced) -> None:
    with connected(port=faced.port) as client:
        for name, moment in (("EXPIREAT", 0), ("EXPIREAT", -5), ("PEXPIREAT", 0), ("PEXPIREAT", 1), ("EXPIRE", -1)):
            client.set("k", "v")
            assert client.execute_command(name, "k", moment) == 1
            assert client.exists("k") == 0, (name, moment)


def test_of_answers_that_nobody_takes_whoever_has_most_gives_way() -> None:
    served = Faced(Limits(max_response_bytes=8 * MIB))
    served.start()
    try:
        with connected(port=served.port) as client:
            client.set("large", "x" * MIB)
        half = served.connected()
        half.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$20000000\r\n" + b"x" * 15 * MIB)
        until(lambda: served.face.held_in_bytes >= 15 * MIB)
        greedy = [served.connected() for _ in range(4)]
        for sock in greedy:
            sock.sendall(command(b"MGET", *[b"large"] * 12))  # one answer: of several the next waits for the one before
        until(lambda: served.face.connected < 5)
        until(lambda: served.face.held_out_bytes <= 8 * MIB)
        half.sendall(b"x" * (20_000_000 - 15 * MIB) + b"\r\n")
        assert received(half, b"\r\n") == b"+OK\r\n"
        for sock in (half, *greedy):
            sock.close()
    finally:
        served.stop()


def test_who_sends_nothing_more_gets_all_answers(faced: Faced) -> None:
    for count in (1, 600, 3000):
        with faced.connected() as sock:
            sock.sendall(b"DEL n\r\n" + b"INCR n\r\n" * count)
            sock.shutdown(socket.SHUT_WR)
            lines = left(sock).split(b"\r\n")
            assert lines[1:-1] == [b":%d" % number for number in range(1, count + 1)]
    with faced.connected() as sock:
        sock.sendall(b"PING\r\nSET half")
        sock.shutdown(socket.SHUT_WR)
        assert left(sock) == b"+PONG\r\n"


@pytest.fixture
def guarded(tmp_path: Path) -> Any:
    path = tmp_path / "tokens"
    path.touch(mode=0o600)
    lines = [("all", "read,write,admin", ""), ("own", "read,write", " prefix=own/"), ("writer", "write", "")]
    path.write_text(
        "".join(f"{name} {scopes}{prefix} sha256:{digest_of(name.encode()).hex()}\n" for name, scopes, prefix in lines)
    )
    served = Faced(Limits(), Tokens(path))
    served.start()
    yield served, path
    served.stop()


def test_what_follows_a_token_at_once_is_taken_as_its_holders(guarded: tuple[Faced, Path]) -> None:
    faced, path = guarded
    large = command(b"MSET", *[b"k", b"v"] * 10)
    with faced.connected() as sock:
        sock.sendall(command(b"AUTH", b"all") + large + command(b"SET", b"k", b"x" * 20_000) + b"STRLEN k\r\n")
        assert received(sock, b":20000\r\n") == b"+OK\r\n+OK\r\n+OK\r\n:20000\r\n"
        sock.sendall(b"RESET\r\n" + large + b"PING\r\nQUIT\r\n")
        assert left(sock) == b"+RESET\r\n" + b"-NOAUTH Authentication required.\r\n" * 2 + b"+OK\r\n"
    with faced.connected() as sock:
        sock.sendall(b"PING " + b"x" * 2000 + b"\r\n")
        assert left(sock) == b"-ERR Protocol error: unauthenticated inline request too long\r\n"
    with faced.connected() as sock:
        sock.sendall(command(b"HELLO", b"3", b"\xff" * 10_000))
        assert len(received(sock, b"\r\n")) < 1000
        sock.sendall(b"PING\r\n" * 100)
        assert received(sock, b"-NOAUTH Authentication required.\r\n" * 100)
    # What tells a value needs to be allowed to read it.
    with connected(port=faced.port, password="writer") as client:
        assert client.set("w", "secret")
        telling = (
            "SET w x NX GET",
            "SET w x XX GET",
            "SET w x GET",
            "GETSET w x",
            "GETDEL w",
            "GETEX w",
            "GET w",
            "GETRANGE w 0 9",
        )
        for asked in telling:
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*asked.split())
    # Of all keys those are told who may read all of them.
    for token, told in (("all", True), ("own", False), ("writer", False)):
        with connected(port=faced.port, password=token) as client:
            assert ("db0" in client.info()) == told
            assert ("bucket_count" in client.info()) == told
    with connected(port=faced.port, password="own") as client:
        assert client.ping()
        path.write_text(path.read_text().splitlines()[0] + "\n")
        assert faced.face.tokens is not None
        faced.do(faced.face.tokens.look_again)
        with pytest.raises((redis.AuthenticationError, redis.ConnectionError)):
            client.get("own/a")
        until(lambda: not any(each._session is not None and each._session._token == b"own" for each in own_all(faced)))


def own_all(faced: Faced) -> list[Connection]:
    return list(faced.face._connections)
