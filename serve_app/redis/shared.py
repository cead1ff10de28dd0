"""What connections and commands see of the face that they belong to."""

from __future__ import annotations

from typing import Any, Protocol

from serve_app.auth.tokens import Tokens
from serve_app.directory.directory import Directory
from serve_app.directory.gathering import Gathering
from serve_app.redis.cursors import Cursors


class Shared(Protocol):
    """tokens: those that are taken; nobody needs one where None. commands: as `table.py` has them, by name."""

    directory: Directory
    gathering: Gathering
    tokens: Tokens | None
    cursors: Cursors
    commands: dict[bytes, Any]
    port: int
    max_value_bytes: int
    max_connections: int
    connections_in_all: int
    commands_in_all: int

    @property
    def connected(self) -> int:
        """Connections that there are."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""

    def now_ms(self) -> int:
        """Milliseconds since then."""

    def uptime_s(self) -> float:
        """Since it began to listen."""
