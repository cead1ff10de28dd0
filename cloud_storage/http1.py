"""HTTP/1.1 (RFC 9112) on one socket, as far as a client of the store needs it.

A whole answer of known length, which nearly every one is, is read by hand: `http.client` has the parser of mails read its
head, and sends head and body apart, which together take more processor time than all else of a call. Any other, and one that
is read bit by bit, is left to `http.client`.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import time
from typing import IO, Any

from cloud_storage.address import Address
from cloud_storage.exchange import Request, Response

_BLOCK = 64 * 1024
#: As `http.client` has it.
_MAX_FIELDS, _MAX_LINE_BYTES = 100, 65536
_MAX_HEAD_BYTES = 256 * 1024
_NO_TEXT = re.compile(r"[\r\n\0]")
_NO_BODY = (http.client.NO_CONTENT, http.client.NOT_MODIFIED)


class Limit:
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


class Requests:
    """Writes what is sent to one address."""

    def __init__(self, address: Address) -> None:
        host = f"[{address.host}]" if ":" in address.host else address.host.encode("idna").decode()
        port = "" if address.port == (443 if address.tls else 80) else f":{address.port}"
        self._prefix = address.prefix
        self._common = f" HTTP/1.1\r\nHost: {host}{port}\r\nAccept-Encoding: identity\r\n{_lines(address.headers)}"

    def head(self, request: Request) -> bytes:
        """All but the body. Raises ValueError: a header or the target would end its line."""
        target = self._prefix + request.target
        if _NO_TEXT.search(target) or " " in target:
            raise ValueError(f"{target!r:.80} is no target of a request")
        length = "" if request.body is None else f"Content-Length: {len(request.body)}\r\n"
        if request.body is None and request.method not in ("GET", "HEAD", "DELETE"):
            length = "Content-Length: 0\r\n"
        return f"{request.method} {target}{self._common}{_lines(request.headers)}{length}\r\n".encode("latin-1")


def _lines(headers: Any) -> str:
    lines = ""
    for name, value in headers.items():
        if _NO_TEXT.search(value):
            raise ValueError(f"the header {name} would end its line")
        lines += f"{name}: {value}\r\n"
    return lines


def send(sock: socket.socket, head: bytes, body: bytes | None) -> None:
    """One packet where that does. Raises OSError."""
    if body is None or len(body) <= _BLOCK:
        sock.sendall(head + body if body else head)
    else:
        sock.sendall(head)
        sock.sendall(body)


def whole_answer(sock: socket.socket, method: str, limit: Limit) -> tuple[Response, bool]:
    """The answer to a request that was sent, and whether another may be sent behind it.

    Raises:
        OSError, HTTPException: it did not come, or can't be understood.
    """
    received = _head(sock, b"", limit)
    while True:
        end = received.find(b"\r\n\r\n")
        version, status, fields = _parsed(received[:end])
        if status >= 200:
            break
        received = _head(sock, received[end + 4 :], limit)
    length = fields.get("content-length", "")
    if status in _NO_BODY or method == "HEAD":
        size = 0
    elif "transfer-encoding" not in fields and length.isascii() and length.isdigit() and len(length) < 16:
        size = int(length)
    else:
        answer = streamed_answer(sock, method, limit, received)
        return Response(status, answer.fields, answer.read()), answer.isclosed() and not answer.will_close
    body = received[end + 4 :]
    if len(body) < size:
        body = _rest(sock, body, size, limit)
    connection = fields.get("connection", "").lower()
    lasts = "close" not in connection and (version == 11 or "keep-alive" in connection)
    return Response(status, fields, body[:size]), lasts and len(body) == size


def _head(sock: socket.socket, received: bytes, limit: Limit) -> bytes:
    """What has come when the head is whole, which it begins with."""
    while b"\r\n\r\n" not in received:
        if len(received) > _MAX_HEAD_BYTES:
            raise http.client.HTTPException("the head of the answer does not end")
        sock.settimeout(limit.left_s())
        some = sock.recv(_BLOCK)
        if not some:
            where = "in the head of the answer" if received else "before the answer"
            raise http.client.RemoteDisconnected(f"the connection broke {where}")
        received = received + some if received else some
    return received


def _rest(sock: socket.socket, body: bytes, size: int, limit: Limit) -> bytes:
    parts, left = [body], size - len(body)
    while left > 0:
        sock.settimeout(limit.left_s())
        some = sock.recv(min(left, 1024 * 1024))
        if not some:
            raise http.client.IncompleteRead(b"", left)
        parts.append(some)
        left -= len(some)
    return b"".join(parts)


def _parsed(head: bytes) -> tuple[int, int, dict[str, str]]:
    """Version, 10 or 11; status; fields by lower-case name."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status = first[:9], first[9:12]
    if version not in ("HTTP/1.1 ", "HTTP/1.0 ") or not status.isascii() or not status.isdigit() or first[12:13] > " ":
        raise http.client.BadStatusLine(first[:80])
    if len(lines) > _MAX_FIELDS:
        raise http.client.HTTPException("the head of the answer has too many fields")
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        _add(fields, name, colon, value)
    return (11 if version == "HTTP/1.1 " else 10), int(status), fields


def _add(fields: dict[str, str], name: str, colon: str, value: str) -> None:
    if not colon or not name or name != name.strip():
        raise http.client.HTTPException("the head of the answer has a line that is no field")
    known, found = name.lower(), value.strip()
    fields[known] = f"{fields[known]}, {found}" if known in fields else found


# -- bit by bit --------------------------------------------------------------------------------------------------------------


def streamed_answer(sock: socket.socket, method: str, limit: Limit, received: bytes = b"") -> StreamedAnswer:
    """The answer with its head read. received: what has come of it already. Raises OSError, HTTPException."""
    answer = StreamedAnswer(sock, method, limit, received)
    answer.begin()
    return answer


class StreamedAnswer(http.client.HTTPResponse):
    """Reads its head by itself: `http.client` takes one that was cut off for a shorter one, and knows no deadline. fields: by
    lower-case name."""

    fields: dict[str, str]

    def __init__(self, sock: socket.socket, method: str, limit: Limit, received: bytes) -> None:
        super().__init__(_Opened(sock, limit, received), method=method)  # type: ignore[arg-type]

    def begin(self) -> None:
        """As that of `http.client` of Python 3.11, but for the above."""
        while True:
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
            fields = _read_fields(self.fp)
            if status >= 200:
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
        if status in _NO_BODY:
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
        if not line.endswith(b"\n"):
            raise http.client.RemoteDisconnected("the connection broke in the head of the answer")
        _add(fields, *line.decode("latin-1").partition(":"))
    raise http.client.HTTPException("the head of the answer has too many fields")


class _Opened:
    """What `HTTPResponse` takes for a socket: it makes the file that the answer is read from."""

    def __init__(self, sock: socket.socket, limit: Limit, received: bytes) -> None:
        self._sock, self._limit, self._received = sock, limit, received

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Limited(self._sock, self._limit, self._received))


class _Limited(io.RawIOBase):
    """What a socket brings, within a limit: a peer that sends a byte now and then would keep a caller for ever."""

    def __init__(self, sock: socket.socket, limit: Limit, received: bytes) -> None:
        super().__init__()
        self._sock, self._limit, self._received = sock, limit, received

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._received:
            some = self._received[: len(buffer)]
            buffer[: len(some)] = some
            self._received = self._received[len(some) :]
            return len(some)
        self._sock.settimeout(self._limit.left_s())
        return self._sock.recv_into(buffer)
