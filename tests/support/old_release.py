"""The release before version 5 of the data plane: what its kept exchanges mean, what it decoded with, and a bucket of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec

from serve_app.operations import Answer, Delete, Deleted, Described, Get, Head, Missing, Put, Value, Written
from serve_app.operations.body import Body
from serve_app.records import Record, encode
from serve_app.topology import Topology
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.frames import LENGTH_BYTES, encode_frame
from serve_app.wire.messages import (
    AcceptLoss,
    Establish,
    Inspect,
    Install,
    Moved,
    Refused,
    Status,
    Survey,
    Surveyed,
    Window,
    WindowWritten,
)
from tests.support.version_4 import EXCHANGES

TOKEN, INCARNATION = "token", "incarnation"
TIMEOUT_MS = 60_000
STORE = Topology(1, 2, 2, "store", ("zero", "one"))
ACCEPTED = Topology(2, 2, 2, "store", ("zero", "other"))
SHRINKING = Topology(9, 2, 1, "store", ("zero", "other"), move_epoch=9)
#: Of the only record in the store, k2.
RECORD_BYTES = 38
RAW = encode(Record(b"moved here", "text/plain", 5, 1, 2))
WINDOW = Window(1, b"k4\0", 7, [(b"k4", RAW)])


def status(topology: Topology, *, keys: int = 1, revision: int = 4, **more: Any) -> Status:
    free_bytes = 1 << 40
    size = keys * RECORD_BYTES
    return Status(
        0, "zero", INCARNATION, topology, keys, size, revision, free_bytes, False, 0, fault="", last_error="", **more
    )


class Said(NamedTuple):
    """What a kept exchange means."""

    body: Body[Any]
    answer: Answer
    epoch: int = 0


#: In the order in which it was said, on one connection to one bucket that was new.
SAID = {
    "get_before_there_is_a_store": Said(Get(b"k0"), Moved(None)),
    "install": Said(Install(STORE), status(STORE, keys=0, revision=0)),
    "put": Said(Put(b"k0", b"value", "text/plain"), Written(True, 1)),
    "put_again": Said(Put(b"k0", b"other", "text/html"), Written(False, 2)),
    "get": Said(Get(b"k0"), Value(b"other", "text/html", 2)),
    "head": Said(Head(b"k0"), Described(7, "text/html", 2)),
    "get_missing": Said(Get(b"k1"), Missing()),
    "head_missing": Said(Head(b"k1"), Missing()),
    "get_elsewhere": Said(Get(b"k4"), Moved(STORE)),
    "head_elsewhere": Said(Head(b"k4"), Moved(STORE)),
    "put_elsewhere": Said(Put(b"k4", b"v", ""), Moved(STORE)),
    "put_without_key": Said(Put(b"", b"v", ""), Refused("invalid", "a key has 1 to 1024 bytes")),
    "delete": Said(Delete(b"k0"), Deleted(b"other", "text/html", 3)),
    "delete_missing": Said(Delete(b"k0"), Missing()),
    "put_third": Said(Put(b"k2", b"\0\xff", ""), Written(True, 4)),
    "survey": Said(Survey(b""), Surveyed(1, [], b"", 1)),
    "accept_loss": Said(AcceptLoss(1, "other"), status(ACCEPTED)),
    "accept_loss_of_bucket_0": Said(
        AcceptLoss(0, "other"), Refused("invalid", "the store has no bucket-0 that could have lost its data")
    ),
    "establish": Said(Establish(("zero", "other")), status(ACCEPTED)),
    "window_before_its_epoch": Said(WINDOW, Moved(ACCEPTED), epoch=9),
    "install_move": Said(Install(SHRINKING), status(SHRINKING, move_done=False)),
    "get_before_it_moved": Said(Get(b"k4"), Moved(SHRINKING)),
    "window": Said(WINDOW, WindowWritten(), epoch=9),
    "get_moved": Said(Get(b"k4"), Value(b"moved here", "text/plain", 5), epoch=9),
    "put_moved": Said(Put(b"k4", b"new", "text/plain"), Written(False, 8), epoch=9),
    "delete_moved": Said(Delete(b"k4"), Deleted(b"new", "text/plain", 9), epoch=9),
    "get_moved_in_another_epoch": Said(Get(b"k4"), Moved(SHRINKING), epoch=8),
    "inspect": Said(
        Inspect("a directory", 1), status(SHRINKING, revision=9, move_done=False, heard_epoch=12), epoch=12
    ),
}
EVERYTHING_SAID = [(call, name, *said) for call, (name, said) in enumerate(SAID.items(), 1)]
#: With an accepted loss the revisions go on from here, where the clock says 0.
BASE = 2**40
#: What is another answer today: for that, and because it is a change of its own, with a revision, that a window was taken in.
ANSWERED_TODAY = {
    "accept_loss": status(ACCEPTED, revision=BASE),
    "establish": status(ACCEPTED, revision=BASE),
    "install_move": status(SHRINKING, revision=BASE, move_done=False),
    "put_moved": Written(False, BASE + 2),
    "delete_moved": Deleted(b"new", "text/plain", BASE + 3),
    "inspect": status(SHRINKING, revision=BASE + 3, move_done=False, heard_epoch=12),
}

# What that release decoded with. It reads past fields that stand behind those that it knows, as every release does.


class OldHello(msgspec.Struct, array_like=True, tag=0):
    oldest: int
    token: str
    bucket_id: int
    identity: str
    newest: int = 0


class OldWelcome(msgspec.Struct, array_like=True, tag=0):
    bucket_id: int
    identity: str
    incarnation: str
    version: int = 0


class OldTopology(msgspec.Struct, array_like=True):
    epoch: int
    bucket_count: int
    target_count: int
    store_id: str
    identities: tuple[str, ...]
    replaced: tuple[int, ...] = ()
    move_epoch: int = 0


class OldGet(msgspec.Struct, array_like=True, tag=1):
    key: bytes


class OldPut(msgspec.Struct, array_like=True, tag=2):
    key: bytes
    value: bytes
    content_type: str


class OldDelete(msgspec.Struct, array_like=True, tag=3):
    key: bytes


class OldInspect(msgspec.Struct, array_like=True, tag=4):
    directory: str = ""
    configured_count: int = 0


class OldInstall(msgspec.Struct, array_like=True, tag=5):
    topology: OldTopology


class OldEstablish(msgspec.Struct, array_like=True, tag=6):
    identities: tuple[str, ...]


class OldWindow(msgspec.Struct, array_like=True, tag=7):
    source: int
    end: bytes
    revision: int
    records: list[tuple[bytes, bytes]]


class OldAcceptLoss(msgspec.Struct, array_like=True, tag=8):
    bucket_id: int
    identity: str


class OldSurvey(msgspec.Struct, array_like=True, tag=9):
    start: bytes


class OldHead(msgspec.Struct, array_like=True, tag=10):
    key: bytes


class OldEnvelope(msgspec.Struct, array_like=True):
    call: int
    timeout_ms: int
    epoch: int
    body: (
        OldGet | OldHead | OldPut | OldDelete | OldInspect | OldInstall | OldEstablish | OldWindow | OldAcceptLoss
        | OldSurvey
    )  # fmt: skip


class OldValue(msgspec.Struct, array_like=True, tag=1):
    value: bytes
    content_type: str
    revision: int


class OldMissing(msgspec.Struct, array_like=True, tag=2):
    pass


class OldWritten(msgspec.Struct, array_like=True, tag=3):
    created: bool
    revision: int


class OldDeleted(msgspec.Struct, array_like=True, tag=4):
    value: bytes
    content_type: str
    revision: int


class OldMoved(msgspec.Struct, array_like=True, tag=5):
    topology: OldTopology | None
    cursor: bytes = b""


class OldRefused(msgspec.Struct, array_like=True, tag=6):
    reason: str
    detail: str


class OldStatus(msgspec.Struct, array_like=True, tag=7):
    bucket_id: int
    identity: str
    incarnation: str
    topology: OldTopology | None
    keys: int
    bytes: int
    revision: int
    free_bytes: int
    disk_full: bool
    queued_writes: int
    fault: str
    last_error: str
    siblings: tuple[int, ...] = ()
    move_done: bool = True
    moved_keys: int = 0
    moved_bytes: int = 0
    remaining_keys: int = 0
    waiting_for: str = ""
    remaining_bytes: int = 0
    keys_per_s: float = 0.0
    bytes_per_s: float = 0.0
    heard_epoch: int = 0


class OldWindowWritten(msgspec.Struct, array_like=True, tag=8):
    pass


class OldSurveyed(msgspec.Struct, array_like=True, tag=9):
    keys: int
    misplaced: list[bytes]
    next_start: bytes
    epoch: int


class OldDescribed(msgspec.Struct, array_like=True, tag=10):
    json_bytes: int
    content_type: str
    revision: int


class OldReply(msgspec.Struct, array_like=True):
    call: int
    answer: (
        OldValue | OldMissing | OldWritten | OldDeleted | OldMoved | OldRefused | OldStatus | OldWindowWritten
        | OldSurveyed | OldDescribed
    )  # fmt: skip


def read_call(frame: bytes | bytearray) -> OldEnvelope:
    """A call's frame as that release reads it."""
    return msgspec.msgpack.decode(payload(frame), type=OldEnvelope)


def read_reply(frame: bytes | bytearray) -> OldReply:
    """A reply's frame as that release reads it."""
    return msgspec.msgpack.decode(payload(frame), type=OldReply)


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame, with its length."""
    length = await reader.readexactly(LENGTH_BYTES)
    return length + await reader.readexactly(int.from_bytes(length, "big"))


def payload(frame: bytes | bytearray) -> memoryview:
    return memoryview(frame)[LENGTH_BYTES:]


class OldBucket:
    """A bucket of the release before, which speaks versions 3 and 4; it answers what was recorded."""

    def __init__(self, exchange: Callable[[OldEnvelope], str]) -> None:
        """exchange: which one a call is answered from."""
        self._exchange = exchange
        self._server: asyncio.Server | None = None
        self.greetings: list[OldHello] = []
        self.frames: list[bytes] = []
        self.endpoint = Endpoint(("", 0), "", "")

    @property
    def calls(self) -> list[OldEnvelope]:
        """What it was asked, as it reads that."""
        return [read_call(frame) for frame in self.frames]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.endpoint = Endpoint((host, port), TOKEN, INCARNATION)

    def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            greeting = msgspec.msgpack.decode(payload(await read_frame(reader)), type=OldHello)
            self.greetings.append(greeting)
            if (greeting.token, greeting.bucket_id) != (TOKEN, 0) or greeting.identity not in ("", "zero"):
                return
            if not max(greeting.oldest, 3) <= 4 <= (greeting.newest or greeting.oldest):
                return
            writer.write(EXCHANGES["hello"].reply)
            while True:
                frame = await read_frame(reader)
                call = read_call(frame)
                self.frames.append(frame)
                _, answer = msgspec.msgpack.decode(payload(EXCHANGES[self._exchange(call)].reply))
                writer.write(encode_frame([call.call, answer]))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def old_bucket(exchange: Callable[[OldEnvelope], str]) -> AsyncIterator[OldBucket]:
    bucket = OldBucket(exchange)
    await bucket.start()
    try:
        yield bucket
    finally:
        bucket.stop()
