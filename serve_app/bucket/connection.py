"""The bucket's end of one connection: handshake, frames in, frames out, and flow control.

While the peer does not read its replies, no further calls are taken from it; what a connection can have under way is bounded.
Replies are gathered and written once for each batch of bytes or group that caused them. What calls ask for is the business of
`calls.py`.
"""

from __future__ import annotations

import asyncio
import hmac
from typing import Protocol, cast

from serve_app import events
from serve_app.bucket.calls import Calls, CallsHost
from serve_app.seldom import Seldom
from serve_app.wire import versions
from serve_app.wire.frames import MAX_FRAME_BYTES, MAX_HELLO_BYTES, FrameError, FrameReader, encode_frame
from serve_app.wire.messages import Envelope, Hello, Reply, Welcome

#: How long a connection may stay that has not shown the token: as long as a directory waits. TLS's handshake gets as long.
HANDSHAKE_TIMEOUT_S = 3.0
#: A peer that has not taken a byte of its replies for this long is hung up on.
STALLED_PEER_S = 15.0
#: Replies gathered before they are handed to the transport.
_FLUSH_BYTES = 256 * 1024
#: Bytes the transport holds before the connection stops taking calls.
_HIGH_WATER_BYTES = 8 * 1024 * 1024


class ConnectionHost(CallsHost, Protocol):
    """What of the bucket's server is needed here."""

    loop: asyncio.AbstractEventLoop
    token: str
    #: What may be logged of connections that have shown the token, and of those that have not.
    peer_events: Seldom
    stranger_events: Seldom

    def knock(self, connection: ServerConnection) -> None:
        """A connection is there that has not shown the token yet."""

    def admit(self, connection: ServerConnection, guest: bool) -> bool:
        """It has shown the token; whether it may stay. guest: as in `messages.Hello`."""

    def forget(self, connection: ServerConnection) -> None:
        """It is gone."""


class ServerConnection(asyncio.Protocol):
    """See the module. Runs on the server's loop."""

    def __init__(self, host: ConnectionHost) -> None:
        self._host = host
        self._reader: FrameReader[Hello | Envelope] = FrameReader(versions.decode_hello, MAX_HELLO_BYTES)
        self._encode_reply = versions.CODECS[versions.NEWEST].encode_reply
        self._transport: asyncio.Transport | None = None
        #: None until the peer has shown the token.
        self._calls: Calls | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._out = bytearray()
        #: When the bytes came that are not handled yet, on the bucket's clock: a deadline counts from then, paused or not.
        self._arrived_s = 0.0
        self.paused = False
        self.closing = False

    # -- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = stream = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._host.knock(self)
        stream.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._timer = self._host.loop.call_later(HANDSHAKE_TIMEOUT_S, self.hang_up, "no handshake")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.closing = True
        self._transport = None
        if self._calls is not None:
            self._calls.stop()
        self._host.forget(self)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._arrived_s = self._host.bucket.clock()
        self._handle_frames()

    def pause_writing(self) -> None:
        self.paused = True
        assert self._transport is not None
        self._transport.pause_reading()
        self._expect_progress(self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self.paused = False
        self._stop_timer()
        if self._transport is not None:
            self._transport.resume_reading()
            self._handle_frames()

    def _expect_progress(self, unread: int) -> None:
        self._timer = self._host.loop.call_later(STALLED_PEER_S, self._check_progress, unread)

    def _check_progress(self, before: int) -> None:
        """Hang up on a peer that has taken nothing since; one that reads slowly may go on."""
        assert self._transport is not None, "the timer is stopped with the connection"
        unread = self._transport.get_write_buffer_size()
        if unread >= before:
            self.hang_up("replies not read")
        else:
            self._expect_progress(unread)

    # -- frames in ---------------------------------------------------------------------------------------------------

    def _handle_frames(self) -> None:
        try:
            while not self.closing and not self.paused:
                message = self._reader.next()
                if message is None:
                    break
                if isinstance(message, Hello):
                    self._greet(message)
                else:
                    assert self._calls is not None, "calls are decoded once the peer has been greeted"
                    self._calls.handle(message, self._arrived_s)
        except FrameError as error:
            self.hang_up(str(error))
        except Exception as error:  # a mistake of ours costs this connection, and none of the calls that came before
            events.error("call failed", exc_info=error, bucket=self._host.bucket.bucket_id)
            self.hang_up("the bucket made a mistake; the log says more")
        finally:
            if self._calls is not None:
                self._calls.begin_gathered()
            self.flush()

    def _greet(self, hello: Hello) -> None:
        """The first frame says who calls, in which versions, and whom it expects; anything but a match is hung up on."""
        bucket = self._host.bucket
        version = versions.agreed_version(hello)
        if version is None:
            self.hang_up(
                f"protocol versions {hello.oldest} to {max(hello.oldest, hello.newest)}, "
                f"not {versions.OLDEST} to {versions.NEWEST}"
            )
        elif not hmac.compare_digest(hello.token.encode(), self._host.token.encode()):
            self.hang_up("wrong token")
        elif hello.bucket_id != bucket.bucket_id or hello.identity not in ("", bucket.identity):
            self.hang_up(f"bucket-{hello.bucket_id} with identity {hello.identity!r} expected")
        elif not self._host.admit(self, hello.guest):
            self._refuse("too many connections of clients' processes" if hello.guest else "too many connections")
        else:
            self._stop_timer()
            self._out += encode_frame(Welcome(bucket.bucket_id, bucket.identity, bucket.incarnation, version))
            codec = versions.CODECS[version]
            self._reader.decode, self._reader.max_frame_bytes = codec.decode_call, MAX_FRAME_BYTES
            self._encode_reply = codec.encode_reply
            self._calls = Calls(self._host, self)

    # -- frames out --------------------------------------------------------------------------------------------------

    def send(self, reply: Reply) -> None:
        """Gather a reply; `flush` sends. To a peer that is gone it is dropped."""
        if self._transport is None:
            return
        self._out += self._encode_reply(reply)
        if len(self._out) >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand what was gathered to the transport, in one piece."""
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._out)
            self._out = bytearray()

    # -- the end -----------------------------------------------------------------------------------------------------

    def hang_up(self, reason: str) -> None:
        """Close it, and say why in the log, where strangers don't drown what is said of peers that hold the token."""
        told = self._host.stranger_events if self._calls is None else self._host.peer_events
        told.warning("connection closed", reason=reason)
        self.close()

    def _refuse(self, reason: str) -> None:
        self._host.peer_events.warning("connection refused", reason=reason)
        self.close()

    def close(self) -> None:
        """Break the connection; nothing more is taken from it, and connection_lost follows."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
