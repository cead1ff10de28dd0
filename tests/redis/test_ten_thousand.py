"""As many connections as a directory takes, all at once. Where this process may not have two files for each (one for each
end), it is as many as it may have: a smaller test of the same, for the limit is then set to that."""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
from collections.abc import Iterator

import pytest

from serve_app.redis.connection import Connection
from serve_app.redis.face import MAX_CONNECTIONS
from tests.redis.faced import Faced, connected
from tests.redis.test_connections import left, received
from tests.support.waiting import until

_OTHER_FILES = 1000
#: Made before those before them are waited for: as many fit into the queue of those that are not accepted yet.
_AT_ONCE = 500


@pytest.fixture
def files() -> Iterator[int]:
    """How many this process may have, raised as far as it goes: root may raise the hard limit too."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            highest = hard if hard == resource.RLIM_INFINITY else max(hard, wanted)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, highest))
        except (OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def served(files: int) -> Iterator[Faced]:
    served = Faced()
    served.start()
    served.face.max_connections = min(served.face.max_connections, (files - _OTHER_FILES) // 2)
    yield served
    served.stop()


def _fill(served: Faced) -> list[socket.socket]:
    """Connect until there is room for none."""
    socks: list[socket.socket] = []
    missing = served.face.max_connections - served.face.connected
    while len(socks) < missing:
        socks += [served.connected() for _ in range(min(_AT_ONCE, missing - len(socks)))]
        expected = served.face.max_connections - missing + len(socks)
        until(lambda: served.face.connected == expected)  # noqa: B023 - it is called here
    return socks


def _held() -> tuple[int, int, int]:
    """Connections in memory, blocks of memory, and files that are open."""
    gc.collect()
    there = sum(isinstance(each, Connection) for each in gc.get_objects())
    return there, sys.getallocatedblocks(), len(os.listdir("/proc/self/fd"))


def test_so_many_are_served_and_no_more_and_nothing_of_them_stays(served: Faced) -> None:
    with connected(port=served.port) as other:
        other.set("k", "v")
        before = _held()
        socks = _fill(served)
        full = _held()
        assert full[0] - before[0] == len(socks) == served.face.max_connections - 1

        # Who comes now is told so, and nobody else notices.
        for _ in range(3):
            with served.connected() as sock:
                assert left(sock) == b"-ERR max number of clients reached\r\n"
        assert other.get("k") == b"v"

        # All of them ask at once, and each has its answer.
        for sock in socks:
            sock.sendall(b"GET k\r\n")
        assert other.incr("n") == 1
        for sock in socks:
            assert received(sock, b"v\r\n") == b"$1\r\nv\r\n"

        # One leaves, one comes.
        socks.pop().close()
        until(lambda: served.face.connected < served.face.max_connections)
        with served.connected() as sock:
            sock.sendall(b"PING\r\n")
            assert received(sock, b"\r\n") == b"+PONG\r\n"

        for sock in socks:
            sock.close()
        del sock
        socks.clear()
        until(lambda: served.face.connected == 1)
        until(lambda: _held()[0] == before[0] and _held()[2] <= before[2])
        assert served.face.held_in_bytes == served.face.held_out_bytes == 0
        assert _held()[1] - before[1] < (full[1] - before[1]) / 20
        assert other.get("k") == b"v"
