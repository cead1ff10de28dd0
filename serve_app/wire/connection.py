"""The caller's end of one TCP connection to a bucket: many calls in flight, paired by their ids.

A call is a plain future. Whoever awaits it may give up at any time; the reply that comes later finds the future done and
is dropped, and the connection serves the others as before. When the connection breaks, every call still open fails with
`ConnectionBroken`: what was sent may have been done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from serve_app.errors import Unavailable
from serve_app.operations.body import Body
from serve_app.settings import Limits
from serve_app.wire import tls, versions
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.frames import MAX_FRAME_BYTES, FrameError, FrameReader, encode_frame
from serve_app.wire.messages import Envelope, Hello, Moved, Refused, Reply, Welcome

CONNECT_TIMEOUT_S = 3.0
#: A connection with calls open that has brought nothing for this long counts as broken (a node that vanished).
SILENT_S = 5.0


class ConnectionBroken(Exception):
    """The connection ended before the reply: the request may or may not have been carried out."""


class NotSent(ConnectionBroken):
    """Not even that: it ended before a byte of the request left: it has not been carried out."""


class HandshakeRefused(Exception):
    """The bucket hung up on our Hello: its token, version or identity is not what we expected."""


class CallExpired(Exception):
    """The deadline passed without a reply."""


#: What is raised where a question has no answer: whoever asks for the store's own sake asks again.
NO_ANSWER = (Unavailable, ConnectionBroken, CallExpired)


@dataclass(slots=True)
class _OpenCall:
    future: asyncio.Future[Any]
    deadline_s: float
    payload_bytes: int


A = TypeVar("A")


_NONE_UNSENT = 1 << 62
Connector = Callable[[Callable[[], asyncio.Protocol], tuple[str, int]], Awaitable[asyncio.BaseTransport]]


async def connect_tcp(factory: Callable[[], asyncio.Protocol], address: tuple[str, int]) -> asyncio.BaseTransport:
    """The real network; the simulation has its own."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(factory, *address, ssl=tls.client_context())
    return transport


class ClientConnection(asyncio.Protocol):
    """A greeted connection; make one with `open_connection`."""

    def __init__(self, hello: Hello, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._hello = hello
        self._reader: FrameReader[Welcome | Reply] = FrameReader(versions.decode_welcome, MAX_FRAME_BYTES)
        self._version = versions.NEWEST
        self._codec = versions.CODECS[self._version]
        self._max_calls, self._max_bytes = limits.max_calls_per_bucket, limits.max_call_bytes_per_bucket
        self._transport: asyncio.Transport | None = None
        self._calls: dict[int, _OpenCall] = {}
        self._call_bytes = 0
        self._out = bytearray()
        #: The first call whose frame is still in `_out`.
        self._first_unsent = _NONE_UNSENT
        self._paused = False
        self._last_call = 0
        #: Since when the bucket owes an answer, or should take bytes, and has not been heard; None while it does not.
        self._owed_since_s: float | None = None
        #: Bytes that the kernel had not taken at the last look.
        self._unread = 0
        self.welcome: asyncio.Future[Welcome] = loop.create_future()
        # Nobody may be left to look at a failed handshake; that is no news then.
        self.welcome.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.closed: asyncio.Future[None] = loop.create_future()

    # -- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = stream = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        # Bytes that the kernel does not take yet are bounded too, also of calls that have expired meanwhile.
        stream.set_write_buffer_limits(high=self._max_bytes)
        stream.write(encode_frame(self._hello))

    def pause_writing(self) -> None:
        self._paused = True
        if self._owed_since_s is None:
            self._owed_since_s = self._loop.time()

    def resume_writing(self) -> None:
        self._paused = False
        if not self._calls:
            self._owed_since_s = None

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (message := self._reader.next()) is not None:
                if isinstance(message, Reply):
                    self._settle(message)
                else:
                    self._begin(message)
        except FrameError:
            self.close()
        self._owed_since_s = self._loop.time() if self._calls or self._paused else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.welcome.done():
            self.welcome.set_exception(HandshakeRefused("the bucket hung up on the handshake"))
        calls, self._calls = self._calls, {}
        for call, entry in calls.items():
            if not entry.future.done():
                lost = NotSent if call >= self._first_unsent else ConnectionBroken
                entry.future.set_exception(lost("the connection to the bucket broke"))
        if not self.closed.done():
            self.closed.set_result(None)

    # -- calls -------------------------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether a call can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def calls_open(self) -> int:
        """Calls sent and not yet answered."""
        return len(self._calls)

    def call(self, body: Body[A], deadline_s: float, epoch: int = 0) -> asyncio.Future[A | Moved | Refused]:
        """Send a question; the future brings its answer. deadline_s is on the loop's clock; epoch is the envelope's.

        The future fails with ConnectionBroken or CallExpired, after either of which it may have been done; with NotSent, a
        ConnectionBroken, it has not.

        Raises:
            Unavailable: the deadline has passed, or too many calls, or bytes of them, are open. Nothing was sent.
        """
        now_s = self._loop.time()
        left_ms = int((deadline_s - now_s) * 1000)
        if left_ms <= 0:
            raise Unavailable("the deadline passed before it could be sent")
        if self._version < versions.NEWEST and body.version_needed() > self._version:
            raise Unavailable(f"the bucket is of an earlier release, which knows no such {body.name}")
        size = body.payload_bytes
        full = len(self._calls) >= self._max_calls or (self._calls and self._call_bytes + size > self._max_bytes)
        if full or self._paused:
            raise Unavailable("too many operations are under way at the key's bucket")
        assert self._transport is not None, "calls are sent on an open connection only"
        self._last_call = call = self._last_call + 1
        frame = self._codec.encode_call(Envelope(call, left_ms, epoch, body))
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._out:
            self._first_unsent = call
            self._loop.call_soon(self._flush)
        if self._owed_since_s is None:
            self._owed_since_s = now_s
        self._calls[call] = _OpenCall(future, deadline_s, size)
        self._call_bytes += size
        self._out += frame
        return future

    def _flush(self) -> None:
        """Write what this turn of the loop gathered: uvloop makes a system call of every write, and the bucket syncs
        together what arrives together."""
        if self.open:
            assert self._transport is not None
            self._transport.write(self._out)
            self._first_unsent = _NONE_UNSENT
        self._out = bytearray()

    def _begin(self, welcome: Welcome) -> None:
        """Speak the version that the bucket has chosen."""
        version = versions.welcomed_version(self._hello, welcome)
        if version is None:
            raise FrameError(f"welcomed in version {welcome.version}")
        self._version, self._codec = version, versions.CODECS[version]
        self._reader.decode = self._codec.decode_reply
        if not self.welcome.done():
            self.welcome.set_result(welcome)

    def _settle(self, reply: Reply) -> None:
        call = self._calls.pop(reply.call, None)
        if call is None:
            return  # it expired before
        self._call_bytes -= call.payload_bytes
        if not call.future.done():
            call.future.set_result(reply.answer)

    def expire(self) -> None:
        """Fail the calls whose deadline has passed, and the whole connection if it has gone silent.

        Called several times a second: one sweep costs less than a timer for every call.
        """
        now_s = self._loop.time()
        unread = 0 if self._transport is None else self._transport.get_write_buffer_size()
        if unread < self._unread:
            self._owed_since_s = now_s  # it is still taking what it is sent
        self._unread = unread
        # Counted on while calls expire and others follow: each alone may be given up sooner than this.
        if self._owed_since_s is not None and now_s - self._owed_since_s > SILENT_S:
            self.close()  # which fails them all; an idle connection is silent rightly
        for call in [call for call, entry in self._calls.items() if entry.deadline_s <= now_s]:
            entry = self._calls.pop(call)
            self._call_bytes -= entry.payload_bytes
            if not entry.future.done():
                entry.future.set_exception(CallExpired("the deadline passed"))

    async def drain(self, timeout_s: float) -> None:
        """Wait until the calls that are open now have ended, in whatever way, or for the timeout."""
        if self._calls:
            await asyncio.wait([call.future for call in self._calls.values()], timeout=timeout_s)

    def close(self) -> None:
        """Break the connection at once."""
        if self._transport is not None:
            self._transport.abort()


async def open_connection(
    endpoint: Endpoint, bucket_id: int, identity: str, limits: Limits, connector: Connector, *, guest: bool = False
) -> tuple[ClientConnection, Welcome]:
    """Connect and greet. identity is the storage expected, or empty. guest: as in `messages.Hello`.

    Raises:
        OSError, TimeoutError: no connection.
        HandshakeRefused: the bucket hung up.
    """
    loop = asyncio.get_running_loop()
    hello = Hello(versions.OLDEST, endpoint.token, bucket_id, identity, versions.NEWEST, guest)
    connection = ClientConnection(hello, limits, loop)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await connector(lambda: connection, endpoint.address)
            welcome = await asyncio.shield(connection.welcome)
    except BaseException:
        connection.close()
        raise
    return connection, welcome


def answered(bucket_id: int, answer: A | Moved | Refused) -> A:
    """An answer to what a bucket is asked for its own sake. Raises Unavailable where there is none in it."""
    if isinstance(answer, Refused):
        raise Unavailable(f"bucket-{bucket_id}: {answer.detail}")
    if isinstance(answer, Moved):  # a mistake of that bucket's, which must not keep others from being asked
        raise Unavailable(f"bucket-{bucket_id} answered that a key has moved, and was not asked for one")
    return answer
