"""One connection: commands come in, are carried out one burst after the other, and are answered in order.

A burst is what a client has sent without waiting for answers. Its operations are carried out together, with those of other
clients (`directory/gathering.py`): in order for each key, and in no order between keys, as if several clients had sent them
at once. The next burst is begun when it is answered. A client that does not read its answers is not read from.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Protocol, cast

from serve_app import events
from serve_app.errors import InvalidRequest, StoreError, ValueTooLarge
from serve_app.operations import Operation
from serve_app.redis import replies, straight
from serve_app.redis.begun import WRITTEN_BYTES, Begun, all_answers, each, reply_of, takes_long
from serve_app.redis.command import Asked, Handled, Later, Outcome, alone
from serve_app.redis.dispatch import OF_HTTP, handle
from serve_app.redis.parser import Parser, ProtocolError
from serve_app.redis.session import Session
from serve_app.redis.shared import Shared
from serve_app.redis.table import OPEN

#: One command, beside what each of its arguments may have.
MAX_COMMAND_BYTES = 64 * 1024 * 1024
#: Of a burst: operations, and bytes of values in them. Longer ones are carried out one part after the other.
_AT_ONCE, _AT_ONCE_BYTES = 500, 4 * 1024 * 1024
#: Commands that have come and wait for those before them; beyond that nothing is read.
_MAX_WAITING, _MAX_WAITING_BYTES = 1000, 1024 * 1024
#: What a command takes in memory, beside its bytes; and how much waits at one connection before it is counted.
COMMAND_BYTES, _WORTH_COUNTING = 120, 64 * 1024
#: What one command may be answered with.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
_TOO_MANY = b"-ERR max number of clients reached\r\n"
_MISTAKE = b"-UNKNOWN the store made a mistake; a write may have happened. The log says more\r\n"


class Connections(Shared, Protocol):
    """Who has made a connection, and counts what all of them hold."""

    def made(self, connection: Connection) -> int:
        """A number for it; 0 where there are too many."""

    def lost(self, connection: Connection) -> None:
        """It has ended."""

    def wrote(self, connection: Connection) -> None:
        """It has something to write, and is to be flushed when this turn of the loop is over."""

    def holds(self, connection: Connection, held_in: int, held_out: int) -> None:
        """Bytes that it holds now: of commands that are not whole, and of answers that nobody has taken."""


class Connection(asyncio.Protocol):
    """See the module. held_in, held_out: bytes that it holds, as `Connections.holds` was told last."""

    def __init__(self, face: Connections) -> None:
        self._face = face
        self._loop = asyncio.get_running_loop()
        self._parser = Parser(face.max_value_bytes, MAX_COMMAND_BYTES)
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._queue: deque[list[bytes]] = deque()
        self._arrived: list[list[bytes]] = []
        #: What is said of what can't be understood, behind all answers; then it ends.
        self._last_words = b""
        #: A command that was looked at and is carried out alone, next.
        self._kept: Handled | None = None
        #: Whether a burst is under way, and what it waits for where that takes long.
        self._busy = False
        self._task: asyncio.Task[None] | None = None
        self._ending = self._reading_paused = False
        #: Set while the client takes its answers.
        self._writable = asyncio.Event()
        self._writable.set()
        #: Answers of this turn of the loop.
        self._out: list[bytes] = []
        self._out_bytes = 0
        self.since_s = time.monotonic()
        self.held_in = self.held_out = 0
        #: What has come since nothing waited, and when the last of it came.
        self._waiting_bytes = 0
        self._heard_s = self._loop.time()
        #: Whether the client sends nothing more.
        self._over = False

    # -- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = stream = cast(asyncio.Transport, transport)
        number = self._face.made(self)
        if not number:
            stream.write(_TOO_MANY)
            stream.close()
            return
        peer = stream.get_extra_info("peername") or ("", 0)
        self._session = Session(self._face, number, f"{peer[0]}:{peer[1]}")
        self._parser.known = self._session.known

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._queue.clear()
        self._writable.set()
        if self._task is not None:
            self._task.cancel()
        self._face.holds(self, 0, 0)
        self._face.lost(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        self._count()
        self._go()

    def data_received(self, data: bytes) -> None:
        if self._session is None or self._last_words:
            return  # it is being hung up on
        self._heard_s = self._loop.time()
        self._waiting_bytes += len(data)
        while True:
            known = self._parser.known
            try:
                self._parser.feed(data, self._arrived)
            except ProtocolError as error:
                self._last_words = replies.error(f"ERR Protocol error: {error}")
            self._waiting_bytes += COMMAND_BYTES * len(self._arrived)
            self._queue.extend(self._arrived)
            self._arrived.clear()
            if self.held_in or self._held_in():
                self._count()
            if len(self._queue) > _MAX_WAITING or self._waiting_bytes > _MAX_WAITING_BYTES or self._last_words:
                self._pause_reading()
            self._go()
            # Of who was not known the commands come one by one: the first may have said who it is.
            if known or not self._parser.has_more or self._last_words or self._queue or self._transport is None:
                return
            data = b""

    def eof_received(self) -> bool:
        """The client sends nothing more, and may still read: it gets its answers first."""
        self._over = True
        if self._transport is not None and self._transport.get_extra_info("sslcontext") is not None:
            return False  # there is no half of such a connection
        self._go()
        return self._transport is not None and not self._transport.is_closing()

    # -- what others ask -----------------------------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """Whether it may do anything."""
        return self._session is None or self._session.known

    def end(self) -> None:
        """As soon as nothing is under way: what has come and was not begun has changed nothing, and is not answered."""
        self._ending = True
        if not self._busy and self._transport is not None:
            self.flush()
            self._transport.close()

    def abort(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()

    # -- carrying out --------------------------------------------------------------------------------------------------

    def _go(self) -> None:
        """Begin the next burst, where none is under way and the answers to the last one are taken."""
        session = self._session
        while not self._busy and self._transport is not None and session is not None and self._writable.is_set():
            if not self._queue:
                self._waiting_bytes = 0
            if self._ending or session.closing or (not self._queue and self._kept is None):
                self._rest(session)
                return
            handled, operations = self._burst(session)
            if isinstance(handled[0], Later):
                self._busy = True
                self._begin(self._later(handled[0]))
            elif len(operations) > _AT_ONCE and len(handled) == 1:
                self._busy = True
                self._begin(self._some_by_some(handled, operations))
            elif operations:
                self._busy = True
                self._face.gathering.add(operations, partial(self._came, handled, operations))
            else:
                self._write(b"".join(cast(list[bytes], handled)))

    def _rest(self, session: Session) -> None:
        """Nothing is to be begun: it ends, or is read on."""
        assert self._transport is not None
        if self._last_words and not self._ending and not session.closing:
            self._write(self._last_words)
        if self._ending or session.closing or self._last_words or self._over:
            self.flush()
            self._transport.close()
        elif self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def _burst(self, session: Session) -> tuple[list[Begun], list[Operation[Any]]]:
        """What is to be carried out together: some commands, or one that is carried out alone."""
        handled: list[Begun] = []
        operations: list[Operation[Any]] = []
        size = 0
        queue, face, one = self._queue, self._face, self._kept
        self._kept = None
        while len(operations) < _AT_ONCE and size < _AT_ONCE_BYTES and not session.closing:
            if one is None:
                if not queue:
                    break
                words = queue.popleft()
                face.commands_in_all += 1
                if (
                    face.tokens is None
                    and (operation := straight.operation_of(words, face.max_value_bytes)) is not None
                ):
                    operations.append(operation)
                    handled.append(straight.reply_to(operation, session.resp3))
                    if operation.writes:
                        size += operation.payload_bytes
                    continue
                one = self._handle(session, words)
            if isinstance(one, Asked):
                if alone(one) or len(one.operations) > _AT_ONCE:
                    if not handled:
                        return [one], list(one.operations)
                    self._kept = one
                    break
                operations += one.operations
                size += sum(operation.payload_bytes for operation in one.operations)
            elif isinstance(one, Later):
                if not handled:
                    return [one], []
                self._kept = one
                break
            else:
                size += len(one)
            handled.append(one)
            one = None
        return handled, operations

    def _handle(self, session: Session, words: list[bytes]) -> Handled:
        name = words[0].upper()
        if name in OF_HTTP:
            self._hang_up(session)
            return b""
        handled = handle(session, name, words, known=self._parser.known)
        if name in OPEN and self._parser.known != session.known:
            self._parser.known = session.known
            self.since_s = time.monotonic()
        return handled

    def _hang_up(self, session: Session) -> None:
        """On a page in a browser, which sends a request of HTTP here for what its body does (as Redis does since 3.2.7)."""
        events.warning("redis connection ended", reason="it is a request of HTTP", peer=session.address)
        self._queue.clear()
        session.closing = True

    def _came(self, handled: list[Begun], operations: list[Operation[Any]], outcomes: list[Outcome]) -> None:
        """What came of the burst."""
        if self._transport is None:
            return
        if takes_long(outcomes):
            self._begin(self._answer(handled, operations, outcomes))
            return
        try:
            self._write(all_answers(handled, operations, outcomes))
        except Exception as error:
            self._mistaken(error)
        self._busy = False
        self._go()

    async def _some_by_some(self, handled: list[Begun], operations: list[Operation[Any]]) -> None:
        """A command on many keys: it is answered when all are done, and others have their turn between some and the next."""
        outcomes: list[Outcome] = []
        for start in range(0, len(operations), _AT_ONCE):
            came: asyncio.Future[list[Outcome]] = self._loop.create_future()
            some = operations[start : start + _AT_ONCE]
            self._face.gathering.add(some, partial(_settle, came))
            outcomes += await came
        await self._answer(handled, operations, outcomes)

    async def _answer(self, handled: list[Begun], operations: list[Operation[Any]], outcomes: list[Outcome]) -> None:
        """Where that is much: one answer after the other, as the client takes them."""
        out: list[bytes] = []
        size = 0
        for one, asked, mine in each(handled, operations, outcomes):
            reply = reply_of(one, await self._whole(asked, mine))
            out.append(reply)
            size += len(reply)
            if size > WRITTEN_BYTES:
                self._write(b"".join(out))
                out, size = [], 0
                await self._writable.wait()
        self._write(b"".join(out))

    async def _whole(self, operations: Sequence[Operation[Any]], outcomes: list[Outcome]) -> list[Outcome]:
        """With what did not fit into the answers of a batch, read by itself."""
        size = 0
        for at, (operation, outcome) in enumerate(zip(operations, outcomes, strict=True)):
            if isinstance(outcome, ValueTooLarge) and not operation.writes:
                if size > MAX_ANSWER_BYTES:
                    outcomes[at] = InvalidRequest("the answer holds too many bytes: ask for fewer keys at once")
                    continue
                try:
                    outcomes[at] = (await self._face.directory.carry_out(operation)).answer
                except StoreError as error:
                    outcomes[at] = error
            size += getattr(outcomes[at], "payload_bytes", 0)
        return outcomes

    async def _later(self, later: Later) -> None:
        try:
            self._write(await later.work())
        except StoreError as error:
            self._write(replies.of_error(error))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task, self._busy = None, False
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._mistaken(error)
        self._go()

    def _mistaken(self, error: BaseException) -> None:
        events.error("redis command failed", exc_info=error)
        self._write(_MISTAKE)
        self.end()  # nobody knows which answers are missing

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def _write(self, out: bytes) -> None:
        """At the end of this turn of the loop, unless that is much."""
        if self._transport is None or not out:
            return
        if not self._out:
            self._face.wrote(self)
        self._out.append(out)
        self._out_bytes += len(out)
        if self._out_bytes > WRITTEN_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what there is."""
        if self._transport is None or not self._out:
            return
        out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out, self._out_bytes = [], 0
        self._transport.write(out)
        if self.held_out or self._transport.get_write_buffer_size():
            self._count()

    def _held_in(self) -> int:
        """Bytes of what has come and is not begun, where that is worth counting."""
        waiting = self._waiting_bytes if self._waiting_bytes > _WORTH_COUNTING else 0
        return max(self._parser.held_bytes, waiting)

    def _count(self) -> None:
        if self._transport is not None:
            self._face.holds(self, self._held_in(), self._transport.get_write_buffer_size())

    def stalled(self, now_s: float) -> float:
        """What it holds of commands, more the longer nothing more has come. now_s: on the loop's clock."""
        return self.held_in * (0.001 + now_s - self._heard_s)

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()


def _settle(future: asyncio.Future[list[Outcome]], outcomes: list[Outcome]) -> None:
    if not future.done():  # whoever asked may be gone
        future.set_result(outcomes)
