"""The same clients by the Redis protocol. Each sends a few commands at once now and then, and none again by itself."""

from __future__ import annotations

from typing import Any

import redis

from tests.support.linearizability import NOT_TOLD, Kind
from tests.support.load import Load

_REFUSED = ("TRYAGAIN", "NOSPACE")


class RedisLoad(Load):
    """url: of HTTP, by which everything is read at the end."""

    kinds = ("get", "get", "put", "put", "swap", "append", "delete")

    def __init__(self, url: str, port: int, clients: int = 12, seed: int = 0) -> None:
        super().__init__(url, clients, seed)
        self._port = port

    def _client(self) -> Any:
        return redis.Redis(port=self._port, retry=None, socket_timeout=30, decode_responses=True)  # type: ignore[arg-type]

    def _ask(self, client: Any, key: str, kind: Kind, value: str) -> tuple[str, str | int | None]:
        """(ok, refused or unknown; what was found)."""
        try:
            client.ping()  # connects: what fails here has sent nothing
        except redis.ConnectionError:
            return "refused", None
        try:
            match kind:
                case "put":
                    client.set(key, value)
                    return "ok", NOT_TOLD
                case "swap":
                    return "ok", client.set(key, value, get=True)
                case "append":
                    return "ok", client.append(key, value)
                case "delete":
                    return "ok", client.getdel(key)
                case _:
                    return "ok", client.get(key)
        except (redis.ConnectionError, redis.TimeoutError):
            return "unknown", None
        except redis.ResponseError as error:
            if str(error).startswith(_REFUSED):
                return "refused", None
            if not str(error).startswith("UNKNOWN"):
                self.surprises.append(str(error)[:200])
            return "unknown", None
