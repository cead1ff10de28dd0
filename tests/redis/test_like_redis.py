"""The same commands to this store and to a real redis-server, where one is on the PATH: each answers as the other does."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.running_store import free_port
from tests.redis.faced import Faced, connected

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no redis-server on the PATH")
_KEYS = st.sampled_from([b"a", b"b", b"c"])
_VALUES = st.sampled_from(
    [b"", b"0", b"1", b"-1", b"10", b"9223372036854775807", b"-9223372036854775808", b"1.5", b"3e2", b"x", b" 1", b"01",
     b"-0", b"1.", b".5", b"abc\r\n", b"\xff\x00"]
)  # fmt: skip
_INTEGERS = st.sampled_from([b"0", b"1", b"-1", b"5", b"-3", b"100", b"x", b"", b"1.0", b"9223372036854775807", b"00"])
#: Long enough not to pass while the test runs, or passed long ago.
_TTLS = st.sampled_from([b"1000", b"5000", b"-1", b"0", b"x"])
_EXPIRY = st.one_of(
    st.just(()),
    st.tuples(st.sampled_from([b"EX", b"px"]), st.sampled_from([b"100000", b"0", b"-1", b"x"])),
    st.tuples(st.sampled_from([b"EXAT", b"PXAT"]), st.sampled_from([b"33000000000", b"1"])),
    st.just((b"KEEPTTL",)),
)
_OPTIONS = st.lists(st.sampled_from([b"NX", b"xx", b"GET", b"ex"]), max_size=2).map(tuple)


def _words(*parts: Any) -> Any:
    """A command's words, of strategies and bytes; tuples are several words."""
    strategies = [part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts]
    return st.tuples(*strategies).map(
        lambda drawn: [word for part in drawn for word in (part if isinstance(part, tuple) else (part,))]
    )


_COMMANDS = st.one_of(
    _words(b"GET", _KEYS),
    _words(b"SET", _KEYS, _VALUES, _OPTIONS, _EXPIRY),
    _words(b"SET", _KEYS, _VALUES),
    _words(b"SETNX", _KEYS, _VALUES),
    _words(st.sampled_from([b"SETEX", b"PSETEX"]), _KEYS, st.sampled_from([b"100000", b"0", b"x"]), _VALUES),
    _words(st.sampled_from([b"GETSET", b"APPEND"]), _KEYS, _VALUES),
    _words(st.sampled_from([b"GETDEL", b"STRLEN", b"TYPE", b"INCR", b"DECR", b"PERSIST", b"EXPIRETIME"]), _KEYS),
    _words(b"GETEX", _KEYS, st.one_of(st.just((b"PERSIST",)), _EXPIRY)),
    _words(b"MGET", _KEYS, _KEYS, _KEYS),
    _words(b"MSET", _KEYS, _VALUES, _KEYS, _VALUES),
    _words(st.sampled_from([b"GETRANGE", b"SUBSTR"]), _KEYS, _INTEGERS, _INTEGERS),
    _words(b"SETRANGE", _KEYS, st.sampled_from([b"0", b"3", b"-1", b"x", b"12"]), _VALUES),
    _words(st.sampled_from([b"INCRBY", b"DECRBY"]), _KEYS, _INTEGERS),
    # On a key of its own: in C's `long double` sums of large numbers are rounded (docs/redis.md).
    _words(b"INCRBYFLOAT", b"f", st.sampled_from([b"1", b"0.5", b"-2.25", b"1e3", b"x", b"", b"-0"])),
    _words(b"SET", b"f", st.sampled_from([b"1.5", b"3e2", b"10", b".5", b"-0", b" 1", b"x", b"inf"])),
    _words(b"GET", b"f"),
    _words(st.sampled_from([b"DEL", b"UNLINK", b"EXISTS", b"TOUCH"]), _KEYS, _KEYS),
    _words(
        b"EXPIRE", _KEYS, _TTLS, st.lists(st.sampled_from([b"NX", b"xx", b"GT", b"LT", b"q"]), max_size=1).map(tuple)
    ),
    _words(b"EXPIREAT", _KEYS, st.sampled_from([b"33000000000", b"1", b"x"])),
    _words(b"TTL", _KEYS),
    _words(b"ECHO", _VALUES),
    _words(
        st.sampled_from([b"GET", b"SET", b"INCRBY", b"mset", b"nonsense", b"PING"]),
        st.sampled_from([(), (b"x", b"y", b"z", b"z")]),
    ),
)


class Raw:
    """Answers as they come, with no words of a client's own."""

    def __init__(self, port: int, protocol: int) -> None:
        self.client = connected(port=port, protocol=protocol)
        self.client.response_callbacks.clear()

    def ask(self, words: list[bytes]) -> Any:
        try:
            return self.client.execute_command(*words)
        except redis.ResponseError as error:
            return f"{type(error).__name__}: {error}"


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("redis")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--dir", str(folder), "--save", "", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        while True:
            assert server.poll() is None
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except ConnectionRefusedError:
                continue
        yield port
        server.terminate()


@pytest.mark.parametrize("protocol", [2, 3])
def test_it_answers_as_redis_does(faced: Faced, redis_port: int, protocol: int) -> None:
    ours, theirs = Raw(faced.port, protocol), Raw(redis_port, protocol)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(_COMMANDS, min_size=5, max_size=30))
    def check(commands: list[list[bytes]]) -> None:
        for each in (ours, theirs):
            each.ask([b"FLUSHALL"])
        for number, words in enumerate(commands):
            mine, other = ours.ask(words), theirs.ask(words)
            if words[0] == b"TTL" and isinstance(other, int) and other > 0:
                assert abs(mine - other) <= 1, commands[: number + 1]
            else:
                assert mine == other, commands[: number + 1]

    check()
