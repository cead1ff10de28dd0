"""What waits for the bucket's writer (`storage.group.Write`): the two kinds, by who is told the outcome.

A `CalledWrite` came by a connection and ends in an answer to its caller. An `OwnWrite` is a step of this bucket's own mover
or coordinator, which awaits it. Both are decided in one order, which is what makes "from here on" exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from serve_app.bucket.writer_state import WriterState
from serve_app.errors import StorageFault, StoreError
from serve_app.operations.body import Answer
from serve_app.storage.group import Group
from serve_app.wire.messages import Envelope, Refused, Status
from serve_app.wire.refusals import refused

# What a write costs in a queue beside its key and value.
_OVERHEAD_BYTES = 200
_NEVER_S = float("inf")


class Caller(Protocol):
    """Whoever is to be told what came of a write. On the bucket's loop."""

    def answer(self, write: CalledWrite) -> None:
        """It is decided, and durable: send its answer, with the next `flush`."""

    def hold(self, write: CalledWrite) -> None:
        """Keep it until it may be decided again: its key is just being moved."""

    def flush(self) -> None:
        """Hand the answers to the network."""


class QueuedWrite:
    """What both kinds share."""

    __slots__ = ("deadline_s", "keys", "needs_space", "size_bytes", "state")

    def __init__(self, state: WriterState, deadline_s: float) -> None:
        """state: for `decide` alone, which the writer calls. deadline_s: on the bucket's clock."""
        self.state = state
        self.deadline_s = deadline_s
        self.keys: Sequence[bytes] = ()
        self.size_bytes = _OVERHEAD_BYTES
        self.needs_space = False

    def decide(self, group: Group) -> None:
        """Change the group's state and leave a result. A StoreError that is raised refuses this write alone."""
        raise NotImplementedError

    def refuse(self, error: StoreError) -> None:
        """It changed nothing, for this reason."""
        raise NotImplementedError

    def leave_unknown(self, error: StorageFault) -> None:
        """Its group could not be written whole: it may or may not come back with the log."""
        raise NotImplementedError

    def expire(self) -> None:
        """Its deadline passed before the writer looked at it."""
        raise NotImplementedError

    def conclude(self, status: Callable[[], Status]) -> Caller | None:
        """Tell the outcome, on the loop, after the sync and once its standing is served by. Returns who is to be flushed."""
        raise NotImplementedError


class CalledWrite(QueuedWrite):
    """See the module."""

    __slots__ = ("answer", "arrived_s", "caller", "envelope", "held")

    def __init__(
        self, state: WriterState, envelope: Envelope, caller: Caller, deadline_s: float, arrived_s: float
    ) -> None:
        super().__init__(state, deadline_s)
        self.envelope = envelope
        self.caller = caller
        self.arrived_s = arrived_s
        self.size_bytes += envelope.body.payload_bytes
        self.needs_space = envelope.body.needs_space
        #: None where it is the bucket's status, as of the end of its group.
        self.answer: Answer | None = None
        #: Its key is just being moved: it is decided again when that is over.
        self.held = False

    def refuse(self, error: StoreError) -> None:
        if isinstance(error, StorageFault):
            self.state.note_error(error)
        self.answer = refused(error)

    def leave_unknown(self, error: StorageFault) -> None:
        if self.held:  # it changed nothing, and no window will be over that it could wait for
            self.held = False
            self.refuse(error)
            return
        self.state.note_error(error)
        self.answer = Refused("unknown", str(error))

    def expire(self) -> None:
        self.answer = Refused("expired", "the deadline passed before the bucket took it up")

    def conclude(self, status: Callable[[], Status]) -> Caller | None:
        if self.held:
            self.caller.hold(self)
        else:
            if self.answer is None:
                self.answer = status()
            self.caller.answer(self)
        return self.caller


class OwnWrite(QueuedWrite):
    """See the module. `done` brings `result` when it is durable."""

    __slots__ = ("done", "error", "result")

    def __init__(self, state: WriterState, done: asyncio.Future[Any]) -> None:
        super().__init__(state, _NEVER_S)
        self.done = done
        self.result: object = None
        self.error: Exception | None = None

    def refuse(self, error: StoreError) -> None:
        if isinstance(error, StorageFault):
            self.state.note_error(error)
        self.error = error

    def leave_unknown(self, error: StorageFault) -> None:
        self.refuse(error)

    def expire(self) -> None:
        raise AssertionError("it has no deadline")

    def conclude(self, status: Callable[[], Status]) -> Caller | None:
        if not self.done.done():
            if self.error is not None:
                self.done.set_exception(self.error)
            else:
                self.done.set_result(self.result)
        return None
