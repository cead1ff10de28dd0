"""Frames by hand, to a bucket on a real socket in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from serve_app.bucket.platform import Platform
from serve_app.operations import Answer
from serve_app.operations.body import Body
from serve_app.settings import Limits
from serve_app.storage.facts import IDENTITY, topology_fact
from serve_app.topology import Topology
from serve_app.wire import messages, versions
from serve_app.wire.frames import FrameReader, encode_frame
from serve_app.wire.messages import Envelope, Hello, Reply, Welcome
from tests.support.local_store import TEST_LIMITS, LocalBucket


class RawClient:
    """Frames by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._frames: FrameReader[Welcome | Reply] = FrameReader(versions.decode_welcome, 1 << 26)

    def send(self, *requests: Hello | Envelope) -> None:
        self.writer.write(b"".join(bytes(encode_frame(request)) for request in requests))

    async def receive(self) -> Welcome | Answer | None:
        """The Welcome, then the next call's answer, or None where the server has hung up."""
        message = await self._next()
        return message.answer if isinstance(message, Reply) else message

    async def receive_reply(self) -> Reply:
        """The next answer with its call."""
        message = await self._next()
        assert isinstance(message, Reply), message
        return message

    async def ask(self, *bodies: Body[Any], epoch: int = 0) -> list[Any]:
        """Send them together; the answers, in the order of the questions."""
        self.send(*(Envelope(call, 20_000, epoch, body) for call, body in enumerate(bodies)))
        replies = [await self.receive_reply() for _ in bodies]
        return [reply.answer for reply in sorted(replies, key=lambda reply: reply.call)]

    async def _next(self) -> Welcome | Reply | None:
        while True:
            message = self._frames.next()
            if message is not None:
                if isinstance(message, Welcome):
                    self._frames.decode = versions.CODECS[message.version].decode_reply
                return message
            try:
                data = await self.reader.read(1 << 20)
            except ConnectionError:
                return None
            if not data:
                return None
            self._frames.feed(data)


@asynccontextmanager
async def serving(
    limits: Limits = TEST_LIMITS,
    platform: Platform = Platform(),  # noqa: B008 - it is immutable
) -> AsyncIterator[LocalBucket]:
    """A bucket 0 of 1 that serves."""
    bucket = LocalBucket(0, limits, platform=platform)
    identity = bucket.engine.get_fact(IDENTITY)
    assert identity is not None
    bucket.engine.write([], [topology_fact(Topology(1, 1, 1, "store", (identity.decode(),)))])
    await bucket.start()
    try:
        yield bucket
    finally:
        await bucket.stop_server()
        await bucket.wire.stop()


async def connect(bucket: LocalBucket) -> RawClient:
    return RawClient(*await asyncio.open_connection(*bucket.wire.target))


def hello(bucket: LocalBucket, *, guest: bool = False) -> messages.Hello:
    assert bucket.endpoint is not None
    identity = bucket.server.bucket.identity  # type: ignore[union-attr]
    return Hello(versions.OLDEST, bucket.endpoint.token, 0, identity, versions.NEWEST, guest)


async def greeted(bucket: LocalBucket, *, guest: bool = False) -> RawClient:
    client = await connect(bucket)
    client.send(hello(bucket, guest=guest))
    assert isinstance(await client.receive(), Welcome)
    return client
