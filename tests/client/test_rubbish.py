"""What answers is not the store, or answers rubbish: no call takes that for an answer, and each ends by its deadline."""

from __future__ import annotations

import asyncio
import io
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from typing import Any

import pytest

from cloud_storage import TEXT, AsyncStore, ConditionFailed, InvalidRequest, SomeFailed, Store, StoreError, Unavailable
from tests.client.served import Served

HTML = b"<html><body>Please log in</body></html>"


def answer(head: bytes, body: bytes = HTML) -> bytes:
    return head.replace(b"\n", b"\r\n") + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


RUBBISH = {
    "a page": answer(b"HTTP/1.1 200 OK\nContent-Type: text/html"),
    "a page with what proxies add": answer(
        b'HTTP/1.1 200 OK\nContent-Type: text/html\nETag: "33a64df5"\nX-Content-Type-Options: nosniff\nBucket: b'
    ),
    "created": answer(b"HTTP/1.1 201 Created\nETag: x"),
    "nothing": answer(b"HTTP/1.1 204 No Content\nX-Content-Type-Options: nosniff", b""),
    "not changed": answer(b'HTTP/1.1 304 Not Modified\nETag: "1"', b""),
    "elsewhere": answer(b"HTTP/1.1 302 Found\nLocation: http://127.0.0.1:1/"),
    "a proxy's error": answer(b"HTTP/1.1 502 Bad Gateway\nRetry-After: \xb2"),
    "a problem of somebody's": answer(
        b"HTTP/1.1 503 x\nContent-Type: application/problem+json", b'{"type": "about:blank"}'
    ),
    "a problem that is deep": answer(b"HTTP/1.1 503 x\nContent-Type: application/problem+json", b"[" * 100_000),
    "less than is promised": b"HTTP/1.1 200 OK\r\nCloud-Storage: 1\r\nContent-Length: 100\r\n\r\nabc",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing at all": b"",
}


class Rubbish:
    """Answers each request alike, and then hangs up; `slowly`: byte by byte."""

    def __init__(self, said: bytes, slowly: bool = False) -> None:
        self._said, self._slowly = said, slowly
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self._listener.getsockname())
        self._stopped = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            try:
                client.recv(65536)
                if not self._slowly:
                    client.sendall(self._said)
                    client.shutdown(socket.SHUT_WR)
                    client.recv(65536)
                    return
                for number in range(len(self._said)):
                    client.sendall(self._said[number : number + 1])
                    if self._stopped.wait(0.02):
                        return
            except OSError:
                pass


@pytest.fixture(params=RUBBISH.values(), ids=list(RUBBISH))
def rubbish(request: pytest.FixtureRequest) -> Iterator[Rubbish]:
    server = Rubbish(request.param)
    yield server
    server.stop()


CALLS: list[Callable[[Store], Any]] = [
    lambda store: store.get("k"),
    lambda store: store.put("k", b"v"),
    lambda store: store.exists("k"),
    lambda store: store.delete("k"),
    lambda store: store.increment("k"),
    lambda store: list(store.list()),
    lambda store: store.get_many(["k"]),
    lambda store: store.put_many({"k": b"v"}),
    lambda store: next(iter(store.watch())),
    lambda store: store.export(io.BytesIO()),
    lambda store: store.import_(io.BytesIO(b"{}\n")),
]


#: Of those, what is taken step by step.
_STEPS = (5, 8)


def test_no_call_takes_it_for_an_answer(rubbish: Rubbish) -> None:
    with Store(rubbish.url, timeout=0.15) as store:
        for call in CALLS:
            with pytest.raises(StoreError) as failed:
                call(store)
            assert not isinstance(failed.value, InvalidRequest)


def test_the_same_for_asyncio(rubbish: Rubbish) -> None:
    async def steps() -> None:
        async with AsyncStore(rubbish.url, timeout=0.15) as store:
            for generator in (store.list(), store.watch()):
                with pytest.raises(StoreError):
                    await anext(generator)

    async def all_others() -> None:
        async with AsyncStore(rubbish.url, timeout=0.15) as store:
            for call in (call for number, call in enumerate(CALLS) if number not in _STEPS):
                with pytest.raises(StoreError):
                    await call(store)  # type: ignore[arg-type]

    asyncio.run(all_others())
    asyncio.run(steps())


def test_an_answer_of_the_store_that_can_not_be_read_is_none() -> None:
    server = Rubbish(answer(b'HTTP/1.1 200 OK\nCloud-Storage: 1\nETag: "\xb2"\nExpires-At: soon'))
    with Store(server.url, timeout=0.15) as store:
        for call in (CALLS[0], CALLS[4], CALLS[5], CALLS[6], CALLS[10]):
            with pytest.raises(StoreError):
                call(store)
    server.stop()


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\nConnection: close", b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK\nConnection: Close, x"]
)
def test_a_store_that_hangs_up_behind_its_answer_has_answered(head: bytes) -> None:
    """As one that is being replaced does."""
    server = Rubbish(answer(head + b'\nCloud-Storage: 1\nETag: "5"\nContent-Type: text/plain', b"here"))
    with Store(server.url, timeout=5) as store:
        for _ in range(2):
            found = store.get("k")
            assert found is not None
            assert (found.value, found.revision) == (b"here", 5)
    server.stop()


@pytest.mark.parametrize("said", [RUBBISH["a page"], b"HTTP/1.1 100 Continue\r\n\r\n" * 1000])
def test_an_answer_that_drips_keeps_nobody_beyond_the_deadline(said: bytes) -> None:
    server = Rubbish(said, slowly=True)
    ended = threading.Event()

    def ask() -> None:
        with Store(server.url, timeout=0.3) as store:
            with pytest.raises(Unavailable):
                store.get("k")
            ended.set()

    threading.Thread(target=ask, daemon=True).start()
    assert ended.wait(10), "it takes twenty seconds and more to drip"
    server.stop()


def _in_child(store: Store, say: Any) -> None:
    say.send([store.get_text("fork/child") for _ in range(50)])


def test_a_forked_child_shares_no_connection(http_store: Served) -> None:
    with Store(http_store.url) as store:
        store.put_many({"fork/parent": "parent", "fork/child": "child"})
        assert store.get_text("fork/parent") == "parent"
        hear, say = get_context("fork").Pipe()
        child = get_context("fork").Process(target=_in_child, args=(store, say))
        child.start()
        assert {store.get_text("fork/parent") for _ in range(200)} == {"parent"}
        assert hear.recv() == ["child"] * 50
        child.join(10)


def test_errors_go_from_process_to_process() -> None:
    failed = pickle.loads(pickle.dumps(SomeFailed({"k": ConditionFailed("why", 7)})))
    assert isinstance(failed, SomeFailed)
    error = failed.errors["k"]
    assert isinstance(error, ConditionFailed)
    assert (str(error), error.revision) == ("why", 7)
    assert "the first is 'k': why" in str(failed)


def test_a_store_is_not_sent_to_another_process(http_store: Served) -> None:
    with Store(http_store.url) as store:
        unsendables: list[object] = [store, store.mapping("m/", TEXT), AsyncStore(http_store.url)]
        for unsendable in unsendables:
            with pytest.raises(TypeError, match="make one there"):
                pickle.dumps(unsendable)
