"""Commands of the Redis protocol, one after the other on some connections, as a client sends them that connects anew.

Runs inside the cluster: `python redis_load.py HOST PORT TOKEN SECONDS`. A command whose connection breaks, or can't be made,
is sent again, as redis-py does it; any other answer than the right one has failed. The last line of its output is the
account, as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import Any

_PATIENCE_S = 20.0
#: So many that all directories have some.
_CONNECTIONS = 7


class Client:
    """One connection at a time."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._where, self._token = (host, port), token
        self._stream: Any = None
        self.connections = 0

    def ask(self, *words: str) -> bytes:
        """The first line of the answer, or a value."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                if self._stream is None:
                    self._connect()
                return self._once(*words)
            except OSError as error:
                self._stream = None
                if time.monotonic() > deadline_s:
                    return f"-nobody answered: {error}".encode()
                time.sleep(0.05)

    def _connect(self) -> None:
        self._stream = socket.create_connection(self._where, 5).makefile("rwb")
        self.connections += 1
        answer = self._once("AUTH", self._token)
        if answer != b"+OK":
            raise OSError(answer.decode())

    def _once(self, *words: str) -> bytes:
        assert self._stream is not None
        parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        self._stream.write(f"*{len(words)}\r\n{parts}".encode())
        self._stream.flush()
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("the connection broke")
        if line[:1] != b"$" or line == b"$-1\r\n":
            return bytes(line[:-2])
        value: bytes = self._stream.read(int(line[1:]) + 2)
        return value[:-2]


def main() -> None:
    host, port, token, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    clients = [Client(host, port, token) for _ in range(_CONNECTIONS)]
    run = os.getpid()
    wrong: list[str] = []
    commands = 0
    longest_s = 0.0
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        key, value = f"app/redis-{run}-{commands % 50}", str(commands)
        for words, right in ((("SET", key, value), b"+OK"), (("GET", key), value.encode())):
            began_s = time.monotonic()
            answer = clients[commands % _CONNECTIONS].ask(*words)
            longest_s = max(longest_s, time.monotonic() - began_s)
            commands += 1
            if answer != right:
                wrong.append(f"{words}: {answer!r:.200}")
        time.sleep(0.005)
    print(
        json.dumps(
            {
                "commands": commands,
                "connections": sum(client.connections for client in clients),
                "wrong": wrong[:20],
                "longest_s": longest_s,
            }
        )
    )


if __name__ == "__main__":
    main()
