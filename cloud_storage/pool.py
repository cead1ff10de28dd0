"""Connections of a sync client, kept alive and shared by threads: the standard library's `http.client`, which takes a
fifteenth of the processor time that httpx takes for a request."""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

from cloud_storage.address import Address
from cloud_storage.exchange import Request, Response
from cloud_storage.steps import Broken, NotSent

#: Idle ones that are kept.
_KEPT = 64
#: As `http.client` has it.
_MAX_FIELDS, _MAX_LINE_BYTES = 100, 65536


class _Limit:
    """How long an answer may take as a whole, in seconds; after `bit_by_bit`, each of its bits."""

    __slots__ = ("_deadline_s", "_timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._deadline_s: float | None = time.monotonic() + timeout_s

    def bit_by_bit(self) -> None:
        self._deadline_s = None

    def left_s(self) -> float:
        """For the next bit. Raises TimeoutError: no time is."""
        if self._deadline_s is None:
            return self._timeout_s
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        return left_s


class _Limited(io.RawIOBase):
    """What a socket brings, within a limit: a peer that sends a byte now and then would keep a caller for ever."""

    def __init__(self, sock: socket.socket, limit: _Limit) -> None:
        super().__init__()
        self._sock, self._limit = sock, limit
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._limit.left_s())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Opened:
    """What `HTTPResponse` takes for a socket: it makes the file that the answer is read from."""

    def __init__(self, sock: socket.socket, limit: _Limit) -> None:
        self._sock, self._limit = sock, limit

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Limited(self._sock, self._limit))


class _Answer(http.client.HTTPResponse):
    """Reads its head by itself: `http.client` has the parser of mails do that, which takes half of a request's processor
    time, takes a head that was cut off for a shorter one, and knows no deadline. fields: by lower-case name."""

    fields: dict[str, str]

    def __init__(self, sock: socket.socket, *args: Any, limit: _Limit, **more: Any) -> None:
        super().__init__(_Opened(sock, limit), *args, **more)  # type: ignore[arg-type]

    def begin(self) -> None:
        """As that of `http.client` of Python 3.11, but for the above."""
        while True:
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
            fields = _read_fields(self.fp)
            if status != http.client.CONTINUE:
                break
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        self.fields = fields
        self.headers = self.msg = fields  # type: ignore[assignment] # of which `get` alone is used
        self.chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.will_close = self._check_close()  # type: ignore[attr-defined]
        length = fields.get("content-length", "")
        known = length.isascii() and length.isdigit() and len(length) < 16 and not self.chunked
        self.length = int(length) if known else None
        if status in (http.client.NO_CONTENT, http.client.NOT_MODIFIED) or 100 <= status < 200:
            self.length = 0
        if not self.will_close and not self.chunked and self.length is None:
            self.will_close = True


def _read_fields(file: IO[bytes]) -> dict[str, str]:
    """The head behind its first line. Raises HTTPException: it is cut off, or is none."""
    fields: dict[str, str] = {}
    for _ in range(_MAX_FIELDS):
        line = file.readline(_MAX_LINE_BYTES + 1)
        if line in (b"\r\n", b"\n"):
            return fields
        name, colon, value = line.partition(b":")
        if not line.endswith(b"\n"):
            raise http.client.RemoteDisconnected("the connection broke in the head of the answer")
        if not colon or not name or name != name.strip():
            raise http.client.HTTPException("the head of the answer has a line that is no field")
        known, found = name.decode("latin-1").lower(), value.strip().decode("latin-1")
        fields[known] = f"{fields[known]}, {found}" if known in fields else found
    raise http.client.HTTPException("the head of the answer has too many fields")


class Pool:
    """Those to one address. Safe to use from several threads."""

    def __init__(self, address: Address, context: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._context = (context or ssl.create_default_context()) if address.tls else None
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._process = os.getpid()

    def close(self) -> None:
        """Close those that are idle; others are closed when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def exchange(self, request: Request, timeout_s: float) -> Response:
        """Send a request and take the whole answer. Raises NotSent, Broken."""
        with self._sent(request, timeout_s) as (response, _):
            try:
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise Broken(_said(error)) from error
            return Response(response.status, headers_of(response), body)

    @contextmanager
    def opened(self, request: Request, timeout_s: float) -> Iterator[http.client.HTTPResponse]:
        """The answer to a request, to be read bit by bit. timeout_s: how long its head may take, and then each bit. Raises
        NotSent, Broken."""
        with self._sent(request, timeout_s) as (response, limit):
            limit.bit_by_bit()
            yield response

    @contextmanager
    def _sent(self, request: Request, timeout_s: float) -> Iterator[tuple[http.client.HTTPResponse, _Limit]]:
        limit = _Limit(timeout_s)
        connection = self._take(timeout_s)
        connection.response_class = partial(_Answer, limit=limit)  # type: ignore[assignment]
        response = None
        try:
            address = self._address
            try:
                connection.request(
                    request.method,
                    address.prefix + request.target,
                    request.body,
                    {**address.headers, **request.headers},
                )
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise Broken(_said(error)) from error
            yield response, limit
        finally:
            if response is not None and response.isclosed() and not response.will_close:
                self._give_back(connection)
            else:
                connection.close()

    def _take(self, timeout_s: float) -> http.client.HTTPConnection:
        with self._lock:
            if self._closed:
                raise RuntimeError("the store is closed")
            # After a fork what is idle is the parent's, who would get our answers, and we its.
            if self._process != os.getpid():
                self._process, self._idle = os.getpid(), []
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            connection.timeout = timeout_s
            if connection.sock is not None:
                connection.sock.settimeout(timeout_s)
            return connection
        address = self._address
        connection = (
            http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
            if self._context is None
            else http.client.HTTPSConnection(address.host, address.port, timeout=timeout_s, context=self._context)
        )
        try:
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            raise NotSent(_said(error)) from error
        return connection

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()


def headers_of(response: http.client.HTTPResponse) -> dict[str, str]:
    """By lower-case name."""
    assert isinstance(response, _Answer), "this pool makes no others"
    return response.fields


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
