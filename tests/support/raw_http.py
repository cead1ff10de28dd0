"""HTTP/1.1 over a plain socket: for requests that no client library would send, and for those that never end."""

from __future__ import annotations

import socket

from tests.support.problem import Answered

TIMEOUT_S = 30.0


class RawConnection:
    """One TCP connection to a store. Use as a context manager."""

    def __init__(self, port: int, *, receive_buffer_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT_S)
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect(("127.0.0.1", port))
        self._read = b""

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave, whatever is under way."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def answer(self) -> Answered | None:
        """The next answer, or None where the connection ends before one has come whole."""
        try:
            while b"\r\n\r\n" not in self._read:
                if not self._receive():
                    return None
            head, _, rest = self._read.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            length = int(headers.get("content-length", "0"))
            while len(rest) < length:
                if not self._receive():
                    return None
                rest = self._read.partition(b"\r\n\r\n")[2]
        except ConnectionError:
            return None
        self._read = rest[length:]
        return Answered(int(lines[0].split(" ")[1]), headers, rest[:length])

    def _receive(self) -> bool:
        data = self.socket.recv(65536)
        self._read += data
        return bool(data)


def raw_request(port: int, data: bytes) -> Answered | None:
    """Send bytes on a connection of their own; the answer as `RawConnection.answer`."""
    with RawConnection(port) as connection:
        connection.send(data)
        return connection.answer()


def head(method: str, target: bytes, *headers: tuple[bytes, bytes]) -> bytes:
    """A request up to and with the blank line."""
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"host: localhost"]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"
