"""What passes between the real ends of the data plane, seen from the directory's side and changed in nothing.

It notes the revisions that replies carry, for the check that they never fall, and keeps copies of the messages that may come
again: those that anybody may deliver at any time (Install), and what a mover sends until it is acknowledged (Window).
Sent later, over whatever connection their sender then has to that bucket, they are repeated, late, and out of order with
everything since. Operations are never repeated: TCP does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from serve_app import operations
from serve_app.operations.body import Body
from serve_app.wire.connection import ClientConnection
from serve_app.wire.messages import Batch, BatchAnswered, Install, Reply, Window
from serve_app.wire.voting import Accept, Prepare
from tests.simulation.loop import Process

#: What may be repeated and come late.
REPEATABLE: tuple[type, ...] = (Install, Window, Prepare, Accept)


@dataclass(slots=True)
class SeenRevision:
    """A reply that carried a revision; times are those of sending the call and having the reply."""

    key: bytes
    revision: int
    wrote: bool
    sent_s: float
    answered_s: float
    #: Whether the answer may be one that was given before.
    again: bool = False


class Sent(NamedTuple):
    """A body and the epoch of its envelope."""

    body: Body[Any]
    epoch: int


class Observer:
    """Watches every connection that a directory or a bucket opens."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self.revisions: list[SeenRevision] = []
        #: Copies that nobody has decided about yet: (sender, bucket, message).
        self.repeatable: list[tuple[str, str, Sent]] = []
        self._connections: dict[tuple[str, str], tuple[Process, ClientConnection]] = {}
        #: Called when a repeatable message was sent.
        self.on_repeatable: Callable[[str, str, Sent], None] = lambda sender, bucket, message: None
        #: The body of every call, and every answer, by who sent it and who gets it.
        self.on_message: Callable[[str, str, Any], None] = lambda sender, receiver, message: None

    def connected(self, process: Process | None, address: tuple[str, int], protocol: asyncio.Protocol) -> None:
        """A new connection; hooks into this one object."""
        if process is None or not isinstance(protocol, ClientConnection):
            return
        self._connections[process.name, address[0]] = (process, protocol)
        asked: dict[int, tuple[list[operations.Operation[Any]], float]] = {}
        call, settle = protocol.call, protocol._settle

        def observed_call(body: Body[Any], deadline_s: float, epoch: int = 0) -> asyncio.Future[Any]:
            future = call(body, deadline_s, epoch)
            self.on_message(process.name, address[0], body)
            if isinstance(body, operations.Operation | Batch):
                several = body.operations if isinstance(body, Batch) else [body]
                asked[protocol._last_call] = (several, self._now_s())
            elif isinstance(body, REPEATABLE):
                self.on_repeatable(process.name, address[0], Sent(body, epoch))
            return future

        def observed_settle(reply: Reply) -> None:
            answer = reply.answer
            self.on_message(address[0], process.name, answer)
            if reply.call in asked:
                several, sent_s = asked.pop(reply.call)
                answers = answer.answers if isinstance(answer, BatchAnswered) else [answer]
                for operation, each in zip(several, answers, strict=False):
                    self._note_revision(operation, each, sent_s)
            settle(reply)

        protocol.call = observed_call  # type: ignore[method-assign]
        protocol._settle = observed_settle  # type: ignore[method-assign]

    def _note_revision(self, operation: operations.Operation[Any], answer: Any, sent_s: float) -> None:
        """A revision of 0: there is no record."""
        revision = getattr(answer, "revision", 0)
        if revision:
            wrote = operation.writes and not isinstance(answer, operations.NotMet)
            again = bool(getattr(operation, "idempotency_key", b""))
            self.revisions.append(SeenRevision(operation.key, revision, wrote, sent_s, self._now_s(), again))

    def connection(self, sender: str, bucket: str) -> tuple[Process, ClientConnection] | None:
        """The greeted connection that a process of this name has now."""
        process, connection = self._connections.get((sender, bucket), (None, None))
        if process is None or connection is None or not process.alive or process.asleep or not connection.open:
            return None
        return (process, connection) if connection.welcome.done() and not connection.welcome.exception() else None

    def repeat(self, connection: ClientConnection, message: Sent, timeout_s: float) -> None:
        """Send a copy. Called as its process; nobody waits for the answer."""
        if not connection.open:
            return
        try:
            future = ClientConnection.call(connection, message.body, connection._loop.time() + timeout_s, message.epoch)
        except Exception:
            return  # too much is under way already
        future.add_done_callback(lambda done: done.cancelled() or done.exception())


def fallen(revisions: list[SeenRevision]) -> str:
    """The first key whose revision fell, with both sightings; empty where none did.

    Whoever asked after another had its answer must see the same revision or a later one, and a write a later one. That
    holds where the record was lost in between, too: revisions go on above all that may have been given.
    """
    by_key: dict[bytes, list[SeenRevision]] = {}
    for seen in revisions:
        by_key.setdefault(seen.key, []).append(seen)
    for seen_of_key in by_key.values():
        answers = sorted(seen_of_key, key=lambda seen: seen.answered_s)
        highest: SeenRevision | None = None
        position = 0
        for later in sorted(seen_of_key, key=lambda seen: seen.sent_s):
            while position < len(answers) and answers[position].answered_s < later.sent_s:
                if highest is None or answers[position].revision > highest.revision:
                    highest = answers[position]
                position += 1
            if not later.again and highest is not None and later.revision < highest.revision + later.wrote:
                return f"a revision fell: {highest}, and afterwards {later}"
    return ""
