"""One connection to a bucket: handshake, requests in, replies out in any order.

Flow control: while the peer does not read its replies, no further requests are taken from it; what a connection can have
under way is bounded. Replies are gathered and written once for each batch of bytes or group that caused them.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import deque
from typing import TYPE_CHECKING, cast

from serve_app.bucket import move_operations, operations
from serve_app.bucket.held import Held
from serve_app.bucket.judgement import Hold
from serve_app.bucket.refusals import refused
from serve_app.errors import Unavailable
from serve_app.record_bounds import MAX_CONTENT_TYPE_BYTES, MAX_KEY_BYTES
from serve_app.storage.group_commit import Operation
from serve_app.topology import MAX_EPOCH
from serve_app.wire import messages
from serve_app.wire.frames import MAX_FRAME_BYTES, MAX_HELLO_BYTES, FrameError, FrameReader, encode_frame

if TYPE_CHECKING:
    from serve_app.bucket.server import BucketServer

#: How long a connection may stay that has not shown the token: as long as a directory waits. TLS's handshake gets as long.
HANDSHAKE_TIMEOUT_S = 3.0
#: A peer that has not taken a byte of its replies for this long is hung up on.
STALLED_PEER_S = 15.0
#: Replies gathered before they are handed to the transport.
_FLUSH_BYTES = 256 * 1024
#: Bytes the transport holds before the connection stops taking requests.
_HIGH_WATER_BYTES = 8 * 1024 * 1024
# Reads that wait for the disk: batches under way for one connection, and reads in each.
_READ_BATCHES = 4
_READS_PER_BATCH = 16

_OPERATIONS: dict[type, type[operations.BucketOperation]] = {
    messages.Put: operations.PutOperation,
    messages.Delete: operations.DeleteOperation,
    messages.Install: operations.InstallOperation,
    messages.Establish: operations.EstablishOperation,
    messages.Window: move_operations.WindowOperation,
    messages.AcceptLoss: move_operations.AcceptLossOperation,
}
#: A read that has to wait for the disk, and when it arrived (seconds on the bucket's clock).
ColdRead = tuple[messages.Get, float]
#: What came of it: the request, the reply or that it has to wait, when it arrived.
ReadReply = tuple[messages.Get, messages.Reply | Hold, float]
_NAMES = {messages.Get: "get", messages.Put: "put", messages.Delete: "delete"}


def _wrong(request: messages.Request) -> str:
    """What makes a write impossible to carry out, or empty. A directory checks all this; a bucket relies on nobody."""
    if isinstance(request, (messages.Put, messages.Delete)) and not 1 <= len(request.key) <= MAX_KEY_BYTES:
        return f"a key has 1 to {MAX_KEY_BYTES} bytes"
    if isinstance(request, messages.Put) and len(request.content_type.encode()) > MAX_CONTENT_TYPE_BYTES:
        return f"a content type has at most {MAX_CONTENT_TYPE_BYTES} bytes"
    return ""


class BucketConnection(asyncio.Protocol):
    """The protocol of one accepted connection. Runs on the server's loop."""

    def __init__(self, server: BucketServer) -> None:
        self._server = server
        self._bucket = server.bucket
        self._reader: FrameReader[messages.Request] = FrameReader(messages.Request, MAX_HELLO_BYTES)
        self._transport: asyncio.Transport | None = None
        self._greeted = False
        self._paused = False
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._out = bytearray()
        self._writes: list[Operation] = []
        self._cold: deque[ColdRead] = deque()
        self._batches = 0

    # -- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = stream = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._server.knock(self)
        stream.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._timer = self._server.loop.call_later(HANDSHAKE_TIMEOUT_S, self.hang_up, "no handshake")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._closing = True
        self._transport = None
        self._cold.clear()
        self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._take_requests()

    def pause_writing(self) -> None:
        self._paused = True
        assert self._transport is not None
        self._transport.pause_reading()
        self._expect_progress(self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._paused = False
        self._stop_timer()
        if self._transport is not None:
            self._transport.resume_reading()
            self._start_reads()
            self._take_requests()

    def _expect_progress(self, unread: int) -> None:
        self._timer = self._server.loop.call_later(STALLED_PEER_S, self._check_progress, unread)

    def _check_progress(self, before: int) -> None:
        """Hang up on a peer that has taken nothing since; one that reads slowly is let be."""
        assert self._transport is not None, "the timer is stopped with the connection"
        unread = self._transport.get_write_buffer_size()
        if unread >= before:
            self.hang_up("replies not read")
        else:
            self._expect_progress(unread)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _take_requests(self) -> None:
        arrived_s = self._bucket.clock()
        try:
            while not self._closing and not self._paused:
                request = self._reader.next()
                if request is None:
                    break
                if self._greeted:
                    self._take(request, arrived_s)
                else:
                    self._greet(request)
        except FrameError as error:
            self.hang_up(str(error))
        if self._writes:
            self._bucket.writer.submit(self._writes)
            self._writes = []
        if self._cold:
            self._start_reads()
        self.flush()

    def _greet(self, request: messages.Request) -> None:
        """The first frame says who calls and whom it expects; anything but a match is hung up on."""
        bucket = self._bucket
        if not isinstance(request, messages.Hello):
            self.hang_up("the first frame is not a Hello")
        elif request.version != messages.VERSION:
            self.hang_up(f"protocol version {request.version}, not {messages.VERSION}")
        elif not hmac.compare_digest(request.token.encode(), self._server.token.encode()):
            self.hang_up("wrong token")
        elif request.bucket_id != bucket.bucket_id or request.identity not in ("", bucket.identity):
            self.hang_up(f"bucket-{request.bucket_id} with identity {request.identity!r} expected")
        elif not self._server.admit(self):
            self._refuse("too many connections")
        else:
            self._greeted = True
            self._reader.max_frame_bytes = MAX_FRAME_BYTES
            self._stop_timer()
            self._send(messages.Welcome(bucket.bucket_id, bucket.identity, bucket.incarnation))

    def _take(self, request: messages.Request, arrived_s: float) -> None:
        bucket = self._bucket
        if isinstance(request, messages.Get):
            reply = bucket.read_in_memory(request)
            if isinstance(reply, Hold):
                self._hold_read(request, arrived_s)
            elif reply is not None:
                self.reply(reply, "get", arrived_s)
            elif len(self._cold) < self._server.max_queued_reads:
                self._cold.append((request, arrived_s))
            else:
                self.reply(
                    messages.Refused(request.call, "busy", "the bucket's queue of reads is full"), "get", arrived_s
                )
            return
        if isinstance(request, messages.Inspect):
            self._server.heard(request)
            if bucket.heard_epoch < request.epoch <= MAX_EPOCH:
                bucket.heard_epoch = request.epoch
            self._send(bucket.status(request.call))
            return
        if isinstance(request, messages.Survey):
            self._server.survey_in_thread(request, self._surveyed)
            return
        if isinstance(request, messages.Hello):
            raise FrameError("a second Hello")
        name = _NAMES.get(type(request), "")
        wrong = _wrong(request)
        if wrong:
            self.reply(messages.Refused(request.call, "invalid", wrong), name, arrived_s)
            return
        deadline_s = arrived_s + request.timeout_ms / 1000
        operation = _OPERATIONS[type(request)](bucket, request, self, deadline_s)
        operation.arrived_s = arrived_s
        try:
            bucket.writer.check_room(operation)
        except Unavailable as error:
            self.reply(refused(request.call, error), name, arrived_s)
            return
        self._writes.append(operation)

    def _start_reads(self) -> None:
        while self._cold and self._batches < _READ_BATCHES and not self._paused:
            batch = [self._cold.popleft() for _ in range(min(len(self._cold), _READS_PER_BATCH))]
            self._batches += 1
            self._server.read_in_thread(batch, self._reads_done)

    def _reads_done(self, replies: list[ReadReply], left: list[ColdRead]) -> None:
        self._batches -= 1
        if not self._closing:
            self._cold.extendleft(reversed(left))
        for request, reply, arrived_s in replies:
            if not isinstance(reply, Hold):
                self.reply(reply, "get", arrived_s)
            elif not self._closing:
                # Judged anew: what it would wait for may have come while others of its batch were read.
                self._take(request, arrived_s)
        self.flush()  # first, for it may find that the peer does not read
        self._start_reads()

    def _surveyed(self, reply: messages.Reply) -> None:
        self._send(reply)
        self.flush()

    # -- operations on keys that are just being moved ----------------------------------------------------------------

    def _hold_read(self, request: messages.Get, arrived_s: float) -> None:
        def again() -> None:
            if not self._closing:
                self._take(request, arrived_s)
                self._start_reads()
                self.flush()

        def refuse(reason: str, detail: str) -> None:
            self.reply(messages.Refused(request.call, reason, detail), "get", arrived_s)
            self.flush()

        deadline_s = arrived_s + request.timeout_ms / 1000
        self._server.held.add(Held(self, deadline_s, len(request.key), again, refuse))

    def hold(self, operation: operations.BucketOperation) -> None:
        """Keep a write that the writer would not decide now, until it may be decided again."""

        def again() -> None:
            operation.held = False
            self._bucket.writer.take_in(operation)
            waiting: list[Operation] = [operation]
            self._bucket.writer.submit(waiting)

        def refuse(reason: str, detail: str) -> None:
            operation.reply = messages.Refused(operation.call, reason, detail)
            self.finish(operation)
            self.flush()

        self._server.held.add(Held(self, operation.deadline_s, operation.size_bytes, again, refuse))

    # -- replies -----------------------------------------------------------------------------------------------------

    def reply(self, reply: messages.Reply, name: str, arrived_s: float) -> None:
        """Gather a reply and count it; `flush` sends. To a peer that is gone it is dropped."""
        stats = self._bucket.stats
        if name:
            stats.latency_s[name].observe(self._bucket.clock() - arrived_s)
        if isinstance(reply, messages.Refused):
            stats.count_refusal(reply.reason)
        self._send(reply)

    def _send(self, reply: messages.Reply) -> None:
        if self._transport is None:
            return
        self._out += encode_frame(reply)
        if len(self._out) >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand what was gathered to the transport, in one piece."""
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._out)
            self._out = bytearray()

    def finish(self, operation: operations.BucketOperation) -> None:
        """Reply to an operation whose group is synced."""
        assert operation.reply is not None, "a decided operation has its reply"
        self.reply(operation.reply, _NAMES.get(type(operation.request), ""), operation.arrived_s)

    def hang_up(self, reason: str) -> None:
        """Close it, and say why in the log, where strangers don't drown what is said of peers that hold the token."""
        told = self._server.peer_events if self._greeted else self._server.stranger_events
        told.warning("connection closed", reason=reason)
        self.close()

    def _refuse(self, reason: str) -> None:
        self._server.peer_events.warning("connection refused", reason=reason)
        self.close()

    def close(self) -> None:
        """Break the connection; nothing more is taken from it, and connection_lost follows."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
