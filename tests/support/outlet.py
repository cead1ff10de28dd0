"""A bucket's connection without a network: what it would have sent."""

from __future__ import annotations

from serve_app.wire.messages import Reply


class Outlet:
    """A `calls.Outlet`."""

    paused = closing = False

    def __init__(self) -> None:
        self.sent: list[Reply] = []

    def send(self, reply: Reply) -> None:
        self.sent.append(reply)

    def flush(self) -> None:
        pass
