"""Connections of a sync client, kept alive and shared by threads."""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cloud_storage import http1
from cloud_storage.address import Address
from cloud_storage.exchange import Request, Response
from cloud_storage.http1 import Limit, StreamedAnswer
from cloud_storage.steps import Broken, NotSent

#: Idle ones that are kept.
_KEPT = 64
#: One that was idle for so long is looked at first: whoever is at its other end may have hung up.
_LOOKED_AT_S = 0.5


class Pool:
    """Those to one address. Safe to use from several threads."""

    def __init__(self, address: Address, context: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._requests = http1.Requests(address)
        self._context = (context or ssl.create_default_context()) if address.tls else None
        #: Each with the time since when it is.
        self._idle: list[tuple[socket.socket, float]] = []
        self._lock = threading.Lock()
        self._closed = False
        self._process = os.getpid()

    def close(self) -> None:
        """Close those that are idle; others are closed when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for sock, _ in idle:
            sock.close()

    def exchange(self, request: Request, timeout_s: float) -> Response:
        """Send a request and take the whole answer. Raises NotSent, Broken."""
        limit, head, lasts = Limit(timeout_s), self._requests.head(request), False
        sock = self._take(timeout_s)
        try:
            http1.send(sock, head, request.body)
            response, lasts = http1.whole_answer(sock, request.method, limit)
            return response
        except (OSError, http.client.HTTPException) as error:
            raise Broken(_said(error)) from error
        finally:
            if lasts:
                self._give_back(sock)
            else:
                sock.close()

    @contextmanager
    def opened(self, request: Request, timeout_s: float) -> Iterator[StreamedAnswer]:
        """The answer to a request, to be read bit by bit. timeout_s: how long its head may take, and then each bit. Raises
        NotSent, Broken."""
        head = self._requests.head(request)
        sock = self._take(timeout_s)
        limit = Limit(timeout_s)
        response = None
        try:
            try:
                http1.send(sock, head, request.body)
                response = http1.streamed_answer(sock, request.method, limit)
            except (OSError, http.client.HTTPException) as error:
                raise Broken(_said(error)) from error
            limit.bit_by_bit()
            yield response
        finally:
            if response is not None and response.isclosed() and not response.will_close:
                self._give_back(sock)
            else:
                sock.close()

    def _take(self, timeout_s: float) -> socket.socket:
        while (found := self._idle_one()) is not None:
            sock, since_s = found
            if time.monotonic() - since_s < _LOOKED_AT_S or not _has_news(sock):
                sock.settimeout(timeout_s)
                return sock
            sock.close()
        return self._connected(timeout_s)

    def _idle_one(self) -> tuple[socket.socket, float] | None:
        with self._lock:
            if self._closed:
                raise RuntimeError("the store is closed")
            # After a fork what is idle is the parent's, who would get our answers, and we its.
            if self._process != os.getpid():
                self._process, self._idle = os.getpid(), []
            return self._idle.pop() if self._idle else None

    def _connected(self, timeout_s: float) -> socket.socket:
        address = self._address
        sock: socket.socket | None = None
        try:
            sock = socket.create_connection((address.host, address.port), timeout_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock if self._context is None else self._context.wrap_socket(sock, server_hostname=address.host)
        except OSError as error:
            if sock is not None:
                sock.close()
            raise NotSent(_said(error)) from error

    def _give_back(self, sock: socket.socket) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _KEPT:
                self._idle.append((sock, time.monotonic()))
                return
        sock.close()


def _has_news(sock: socket.socket) -> bool:
    """Of a connection that nothing is expected of: its other end has hung up, or says what nobody has asked."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
