"""Connections: what is not whole, not read, not allowed or not answered by a bucket; each costs nobody else anything."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from serve_app.auth.secret import digest_of
from serve_app.auth.tokens import Tokens
from serve_app.settings import Limits
from tests.redis.faced import Faced, connected
from tests.support.certificates import make_certificates
from tests.support.waiting import until

MIB = 1024 * 1024


def received(sock: socket.socket, end: bytes) -> bytes:
    """Up to this end."""
    found = b""
    while not found.endswith(end):
        some = sock.recv(65536)
        assert some, found[-200:]
        found += some
    return found


def left(sock: socket.socket) -> bytes:
    """All until it is closed."""
    found = b""
    while True:
        try:
            some = sock.recv(65536)
        except ConnectionResetError:
            return found
        if not some:
            return found
        found += some


def test_what_can_not_be_understood_ends_the_connection_behind_the_answers(faced: Faced) -> None:
    with faced.connected() as sock:
        sock.sendall(b"PING\r\nSET a 1\r\nGET a\r\n*x\r\nPING\r\n")
        assert left(sock) == b"+PONG\r\n+OK\r\n$1\r\n1\r\n-ERR Protocol error: invalid multibulk length\r\n"


@pytest.mark.parametrize("line", [b"POST / HTTP/1.1", b"GET / HTTP/1.1\r\nHost: 127.0.0.1", b"post /", b"hOST: x"])
def test_a_page_in_a_browser_can_make_it_do_nothing(faced: Faced, line: bytes) -> None:
    """Which may send any body anywhere; its lines would be inline commands."""
    with connected(port=faced.port) as client:
        client.set("kept", "1")
        with faced.connected() as sock:
            sock.sendall(line + b"\r\nContent-Length: 40\r\n\r\nSET kept 2\r\nFLUSHALL\r\n")
            assert b"+OK" not in left(sock)
        assert client.get("kept") == b"1"


def test_quit_ends_it_behind_its_answer(faced: Faced) -> None:
    with faced.connected() as sock:
        sock.sendall(b"SET a 1\r\nQUIT\r\nSET a 2\r\n")
        assert left(sock) == b"+OK\r\n+OK\r\n"
        with faced.connected() as other:
            other.sendall(b"GET a\r\n")
            assert received(other, b"1\r\n") == b"$1\r\n1\r\n"


def test_both_protocols_on_one_connection(faced: Faced) -> None:
    with faced.connected() as sock:
        sock.sendall(b"DEL a\r\nGET a\r\nHELLO 3\r\nGET a\r\nCONFIG GET appendonly\r\nRESET\r\nGET a\r\nHELLO 4\r\n")
        found = received(sock, b"version\r\n")
        assert found.startswith(b":")
        assert b"$-1\r\n%7\r\n$6\r\nserver\r\n" in found
        assert b"\r\n_\r\n%1\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n+RESET\r\n$-1\r\n-NOPROTO " in found


def test_half_a_command_keeps_nobody_waiting(faced: Faced) -> None:
    stalled = [faced.connected() for _ in range(20)]
    for sock in stalled:
        sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1000000\r\n" + b"x" * 100_000)
    until(lambda: faced.face.held_in_bytes > 20 * 100_000)
    with connected(port=faced.port) as client:
        assert client.set("a", "1")
    for sock in stalled:
        sock.close()
    until(lambda: faced.face.held_in_bytes == 0)


def test_who_does_not_read_is_not_read_from(faced: Faced) -> None:
    """Answers stay few, however much is asked for, and others are answered."""
    with connected(port=faced.port) as client:
        client.set("large", b"x" * MIB)
        with faced.connected() as sock:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):  # until it is not taken any more
                while True:
                    sock.send(b"GET large\r\n" * 1000)
            until(lambda: faced.face.held_out_bytes > 0)
            assert client.get("a") == client.get("a")
            assert faced.face.held_out_bytes < 64 * MIB
            sock.setblocking(True)
            size = 0
            while size < 50 * MIB:
                size += len(sock.recv(MIB))
        until(lambda: faced.face.held_out_bytes == 0)
        client.delete("large")


def test_there_is_an_end_to_connections(faced: Faced, monkeypatch: pytest.MonkeyPatch) -> None:
    until(lambda: faced.face.connected == 0)
    monkeypatch.setattr(faced.face, "max_connections", 2)
    with faced.connected() as one, faced.connected() as two:
        for sock in (one, two):
            sock.sendall(b"PING\r\n")
            assert received(sock, b"\r\n") == b"+PONG\r\n"
        with faced.connected() as third:
            assert left(third) == b"-ERR max number of clients reached\r\n"
        one.sendall(b"PING\r\n")
        assert received(one, b"\r\n") == b"+PONG\r\n"


def test_who_holds_most_gives_way() -> None:
    limits = Limits(request_timeout_s=5.0, disk_reserve_bytes=0, max_upload_bytes=3 * MIB)
    faced = Faced(limits)
    faced.start()
    try:
        with faced.connected() as large, faced.connected() as small, faced.connected() as last:
            for sock, size in ((small, 100_000), (large, 2 * MIB)):
                sock.sendall(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (4 * MIB) + b"x" * size)
            until(lambda: faced.face.held_in_bytes > 2 * MIB)
            last.sendall(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (1 * MIB + 500_000) + b"x" * (MIB + 400_000))
            assert left(large) == b""
            last.sendall(b"x" * 100_000 + b"\r\n")
            assert received(last, b"x\r\n")
            assert faced.face.held_in_bytes < 300_000
    finally:
        faced.stop()


def test_a_store_that_is_away_refuses_and_says_what_may_have_happened() -> None:
    faced = Faced(Limits(request_timeout_s=0.3, disk_reserve_bytes=0))
    faced.start()
    try:
        with connected(port=faced.port) as client:
            client.mset(dict.fromkeys("abcdefgh", "1"))
            for bucket in faced.store.buckets:
                faced.do(partial(setattr, bucket.wire, "mute_replies", True))
            with pytest.raises(redis.ResponseError, match=r"^UNKNOWN .*may have happened"):
                client.set("a", "2")
            with pytest.raises(redis.ResponseError, match="did not answer in time") as refused:
                client.get("a")
            assert str(refused.value).startswith("TRYAGAIN ") or type(refused.value).__name__ == "TryAgainError"
            with pytest.raises(redis.ResponseError, match=r"^UNKNOWN 8 of 8 keys failed"):
                client.mset(dict.fromkeys("abcdefgh", "2"))
    finally:
        faced.stop()


# -- tokens ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Faced, Path]]:
    """A store that wants tokens: `reader`, and `writer` for keys that begin with own/."""
    path = tmp_path / "tokens"
    lines = ("reader read", "writer read,write prefix=own/")
    path.write_text("".join(f"{line} sha256:{digest_of(line.split()[0].encode()).hex()}\n" for line in lines))
    faced = Faced(tokens=Tokens(path))
    faced.start()
    yield faced, path
    faced.stop()


def test_nothing_is_done_for_strangers(guarded: tuple[Faced, Path]) -> None:
    faced, _ = guarded
    with faced.connected() as sock:
        sock.sendall(b"PING\r\nGET a\r\nHELLO 3\r\nAUTH nonsense\r\nAUTH other reader\r\nINFO\r\nQUIT\r\n")
        said = left(sock).split(b"\r\n")
        assert [line.split(b" ")[0] for line in said] == [
            b"-NOAUTH", b"-NOAUTH", b"-NOAUTH", b"-WRONGPASS", b"-WRONGPASS", b"-NOAUTH", b"+OK", b"",
        ]  # fmt: skip
    with faced.connected() as sock:
        sock.sendall(b"*100\r\n")
        assert left(sock) == b"-ERR Protocol error: unauthenticated multibulk length\r\n"


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_token_allows_what_it_allows_over_http(guarded: tuple[Faced, Path], protocol: int) -> None:
    faced, path = guarded
    with (
        connected(port=faced.port, password="reader", protocol=protocol) as reader,
        connected(port=faced.port, password="writer", protocol=protocol) as writer,
    ):
        assert writer.set("own/a", "1") is True
        assert reader.get("own/a") == b"1"
        assert list(writer.scan_iter()) == [b"own/a"]
        refused: list[Callable[[], object]] = [
            lambda: reader.set("own/a", "1"),
            lambda: reader.getdel("own/a"),
            lambda: writer.get("a"),
            lambda: writer.mset({"own/b": "1", "a": "1"}),
            lambda: writer.flushdb(),
            lambda: writer.dbsize(),
            lambda: writer.keys("a*"),
        ]
        for call in refused:
            with pytest.raises(redis.exceptions.NoPermissionError):
                call()
        assert writer.get("own/b") is None, "of a command that is refused nothing is done"
        path.write_text(path.read_text().splitlines()[0] + "\n")
        faced.do(faced.face.tokens.look_again if faced.face.tokens else lambda: None)
        with pytest.raises(redis.exceptions.AuthenticationError):
            writer.get("own/a")
        assert reader.get("own/a") == b"1"


def test_it_speaks_tls_where_ray_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_certificates(tmp_path / "ours")
    for name, file in (("CA_CERT", "ca.crt"), ("SERVER_CERT", "node.crt"), ("SERVER_KEY", "node.key")):
        monkeypatch.setenv(f"RAY_TLS_{name}", str(tmp_path / "ours" / file))
    monkeypatch.setenv("RAY_USE_TLS", "1")
    served = Faced()
    served.start()
    try:
        own = {"ssl_certfile": str(tmp_path / "ours" / "node.crt"), "ssl_keyfile": str(tmp_path / "ours" / "node.key")}
        trusted = {"ssl": True, "ssl_ca_certs": str(tmp_path / "ours" / "ca.crt"), "ssl_check_hostname": False}
        with connected(port=served.port, **own, **trusted) as client:
            assert client.set("a", "1")
            assert client.get("a") == b"1"
        with connected(port=served.port, **trusted) as stranger, pytest.raises(redis.ConnectionError):
            stranger.get("a")
        with connected(port=served.port) as plain, pytest.raises(redis.ConnectionError):
            plain.get("a")
    finally:
        served.stop()


def test_a_command_on_many_keys_is_carried_out_some_by_some(faced: Faced) -> None:
    """So that others have their turn: as one it kept them waiting for 0.3 s."""
    keys = [f"many{number}" for number in range(12_000)]
    sizes: list[int] = []
    add = faced.face.gathering.add

    def noting(operations: Any, done: Any) -> None:
        sizes.append(len(operations))
        add(operations, done)

    with connected(port=faced.port) as client, faced.connected() as sock:
        faced.do(lambda: setattr(faced.face.gathering, "add", noting))
        try:
            assert client.mset(dict.fromkeys(keys, "v"))
            assert client.exists(*keys) == 12_000
            assert client.mget(*keys[:4_000], "none") == [b"v"] * 4_000 + [None]
            # What stands before it and behind it on a connection stays there.
            words = [b"DEL", *(key.encode() for key in keys)]
            deleting = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
            sock.sendall(b"GET many1\r\n" + deleting + b"GET many1\r\nPING\r\n")
            assert received(sock, b"PONG\r\n") == b"$1\r\nv\r\n:12000\r\n$-1\r\n+PONG\r\n"
        finally:
            faced.do(lambda: setattr(faced.face.gathering, "add", add))
    assert max(sizes) <= 500
    assert sum(sizes) > 36_000
